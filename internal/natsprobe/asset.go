package natsprobe

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/topology"
)

// Asset describes an existing stream or bucket.
type Asset struct {
	Name            string // of the stream or bucket
	Err             error  // why it cannot be read: ErrNotFound when it is missing
	Memory          bool
	Replicas        int
	Bytes, MaxBytes int64 // MaxBytes is -1 without a limit
	Refuses         bool  // new messages when it is full
	TTL, MarkerTTL  time.Duration
	Differences     []Difference
}

// Difference is a setting of an asset that differs from the default and matters.
type Difference struct {
	Text   string
	Breaks bool // runs do not work with it
}

// Assets describes the streams and the buckets.
func (p *Probe) Assets(ctx context.Context) []Asset {
	wanted := p.wanted()
	assets := make([]Asset, len(wanted))
	each(len(wanted), func(i int) { assets[i] = p.asset(ctx, &wanted[i]) })
	for i, name := range p.buckets {
		assets[len(assets)-len(p.buckets)+i].Name = name
	}
	return assets
}

func (p *Probe) asset(ctx context.Context, want *natsjs.StreamConfig) Asset {
	a := Asset{Name: want.Name}
	info, err := p.c.StreamInfoOnce(ctx, want.Name)
	if err != nil {
		a.Err = err
		return a
	}
	have := &info.Config
	a.Memory, a.Replicas = have.Storage == natsjs.MemoryStorage, have.Replicas
	a.Bytes, a.MaxBytes = int64(min(info.State.Bytes, math.MaxInt64)), have.MaxBytes
	a.Refuses = have.MaxBytes > 0 && have.Discard == natsjs.DiscardNew
	a.TTL, a.MarkerTTL = have.MaxAge, have.SubjectDeleteMarkerTTL
	a.Differences = differences(want, have)
	return a
}

// differences compares the important settings of a stream with the defaults.
func differences(want, have *natsjs.StreamConfig) []Difference {
	var found []Difference
	note := func(differs, breaks bool, format string, args ...any) {
		if differs {
			found = append(found, Difference{fmt.Sprintf(format, args...), breaks})
		}
	}
	for _, text := range jetstream.Departures(want, have) {
		note(true, true, "%s", text)
	}
	note(have.Retention != want.Retention, true, "its retention is %s instead of %s", strings.ToLower(have.Retention.String()), strings.ToLower(want.Retention.String()))
	note(have.NoAck, true, "it acknowledges nothing (no_ack)")
	note(have.Sealed, true, "it is sealed")
	note(want.MaxMsgsPerSubject < 0 && have.MaxMsgsPerSubject > 0, true, "it keeps only %d messages of a subject", have.MaxMsgsPerSubject)
	note(have.Discard != want.Discard && (have.MaxBytes > 0 || have.MaxMsgs > 0), want.Discard == natsjs.DiscardNew,
		"when it is full it discards %s messages instead of %s ones", discarded(have.Discard), discarded(want.Discard))
	note(have.MaxMsgs > 0, false, "it holds at most %d messages", have.MaxMsgs)
	note(have.MaxMsgSize > 0 && have.MaxMsgSize < topology.LongestMessage, true, "it refuses messages above %d bytes; up to %d are sent", have.MaxMsgSize, topology.LongestMessage)
	note(want.MaxAge == 0 && have.MaxAge > 0 && !bucketName(want.Name), false, "messages older than %v are removed", have.MaxAge)
	note(want.Storage == natsjs.FileStorage && have.Storage != want.Storage && !bucketName(want.Name), false, "it is in memory: a restart of the server loses it")
	note(want.AllowDirect && !have.AllowDirect, strings.HasPrefix(want.Name, "OBJ_"), "it does not allow direct gets")
	note(want.AllowRollup && !have.AllowRollup, false, "it does not allow roll-ups")
	note(have.MaxConsumers > 0 && have.MaxConsumers < 1000, false, "it has room for %d consumers: one a lane or reader", have.MaxConsumers)
	note(want.RePublish != nil && have.RePublish == nil, false, "it republishes nothing to %s: workers find a job up to a second late", republished(want))
	return found
}

func discarded(p natsjs.DiscardPolicy) string {
	if p == natsjs.DiscardNew {
		return "new"
	}
	return "old"
}

func republished(cfg *natsjs.StreamConfig) string {
	if cfg.RePublish == nil {
		return ""
	}
	return cfg.RePublish.Destination
}

// bucketName reports whether a stream is a KV bucket, whose age and storage
// its users choose.
func bucketName(stream string) bool { return len(stream) > 3 && stream[:3] == "KV_" }
