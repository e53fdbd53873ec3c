package jetstream_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/test/natstest"
)

// TestForeignStreamsAreRefused: streams that another program has made so that messages go
// elsewhere, and one of an earlier version, which is corrected.
func TestForeignStreamsAreRefused(t *testing.T) {
	t.Parallel()
	s := natstest.InProcess(t)
	ctx := natstest.Within(t)
	js := natstest.Must[natsjs.JetStream](t)(natsjs.New(s.Connect(t)))
	c := natstest.Must[*jetstream.Conn](t)(jetstream.Connect(ctx, jetstream.Config{
		URL: s.URL(), Options: s.Options(), ConnectTimeout: time.Minute, Logger: slog.New(slog.DiscardHandler), Probe: "X",
	}))
	t.Cleanup(c.Close)
	cfg := jetstream.BucketConfig{Name: "b", Memory: true, TTL: time.Minute, Shared: true}
	for want, change := range map[string]func(*natsjs.StreamConfig){
		"republishes": func(c *natsjs.StreamConfig) {
			c.RePublish = &natsjs.RePublish{Source: "$KV.b.>", Destination: "mp.job.>"}
		},
		"it stores": func(c *natsjs.StreamConfig) { c.Subjects = []string{"$KV.b.>", "mp.ctl.>"} },
		"other streams": func(c *natsjs.StreamConfig) {
			c.Sources = []*natsjs.StreamSource{{Name: "OTHER"}}
		},
		"transforms": func(c *natsjs.StreamConfig) {
			c.SubjectTransform = &natsjs.SubjectTransformConfig{Source: "$KV.b.>", Destination: "$KV.b.x.>"}
		},
	} {
		stream := jetstream.BucketStream(cfg)
		change(&stream)
		natstest.Must[natsjs.Stream](t)(js.CreateStream(ctx, stream))
		_, opened := c.OpenBucket(ctx, cfg)
		_, joined := c.JoinBucket(ctx, cfg)
		for _, err := range []error{opened, joined} {
			if !errors.Is(err, jetstream.ErrForeign) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "KV_b") {
				t.Errorf("%s: %v", want, err)
			}
		}
		natstest.Check(t, js.DeleteStream(ctx, "KV_b"))
	}
	earlier := jetstream.BucketStream(jetstream.BucketConfig{Name: "b", Memory: true, TTL: time.Minute, MarkerTTL: time.Minute})
	natstest.Must[natsjs.Stream](t)(js.CreateStream(ctx, earlier))
	if _, err := c.JoinBucket(ctx, cfg); !errors.Is(err, jetstream.ErrForeign) {
		t.Errorf("a worker joins a registry that it may erase: %v", err)
	}
	natstest.Must[*jetstream.Bucket](t)(c.OpenBucket(ctx, cfg))
	natstest.Must[*jetstream.Bucket](t)(c.JoinBucket(ctx, cfg))
	info := natstest.Must[*natsjs.StreamInfo](t)(natstest.Must[natsjs.Stream](t)(js.Stream(ctx, "KV_b")).Info(ctx))
	if info.Config.AllowRollup || info.Config.SubjectDeleteMarkerTTL != 0 {
		t.Errorf("%+v", info.Config)
	}
}
