package natsprobe_test

import (
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/natsprobe"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/test/natstest"
)

// attach probes a server, for the buckets of these names.
func attach(t testing.TB, cfg broker.Config, buckets ...string) (*broker.Conn, *natsprobe.Probe) {
	t.Helper()
	c, err := broker.Attach(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, natsprobe.New(c.Conn, buckets...)
}

func connect(t testing.TB, cfg broker.Config) *broker.Conn {
	t.Helper()
	c, err := broker.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func config(t testing.TB, s *natstest.Server) broker.Config {
	t.Helper()
	return broker.Config{URL: s.URL(), Options: s.Options(), Name: t.Name(), ConnectTimeout: time.Minute, Logger: slog.New(slog.DiscardHandler)}
}

// contents returns all streams of a server, with their positions and consumers.
func contents(t testing.TB, nc *nats.Conn) map[string]natsjs.StreamState {
	t.Helper()
	all := map[string]natsjs.StreamState{}
	list := natstest.Must[natsjs.JetStream](t)(natsjs.New(nc)).ListStreams(natstest.Within(t))
	for info := range list.Info() {
		all[info.Config.Name] = info.State
	}
	natstest.Check(t, list.Err())
	return all
}

// TestTrialsLeaveNothing: attaching and all trials create no stream and leave no
// message, on a server with and without a topology.
func TestTrialsLeaveNothing(t *testing.T) {
	t.Parallel()
	s := natstest.InProcess(t)
	ctx := natstest.Within(t)
	nc := s.Connect(t)
	for _, created := range []bool{false, true} {
		if created {
			c := connect(t, config(t, s))
			natstest.Must[*jetstream.Bucket](t)(c.OpenBucket(ctx, jetstream.BucketConfig{Name: "mp-workers", Memory: true, TTL: time.Hour, Shared: true}))
			natstest.Must[*jetstream.Bucket](t)(c.OpenBucket(ctx, jetstream.BucketConfig{Name: "mp-lanes"}))
			natstest.Check(t, c.Queue.EnsureLane(ctx, "any"))
			natstest.Must[uint64](t)(c.Runs.Append(ctx, "r", "m", 0, jobs.Record{Claim: &jobs.Claim{Attempt: 1, Worker: "w", Incarnation: "i", Nonce: "n"}}))
		}
		before := contents(t, nc)
		c, p := attach(t, config(t, s), "mp-workers", "mp-lanes")
		natstest.Check(t, p.JetStream(ctx))
		for _, trial := range p.Trials(ctx) {
			if trial.Err != nil {
				t.Errorf("created %v: %+v", created, trial)
			}
		}
		for _, a := range p.Assets(ctx) {
			natstest.Check(t, p.MayCreate(ctx, a.Name))
			if created && (a.Err != nil || len(a.Differences) > 0) || !created && !errors.Is(a.Err, broker.ErrNotFound) {
				t.Errorf("created %v: %+v", created, a)
			}
		}
		if _, _, err := p.Clock(ctx); created != (err == nil) {
			t.Errorf("created %v: the clock: %v", created, err)
		}
		if n, found, err := p.Lanes(ctx); created && (n != 1 || found != nil || err != nil) {
			t.Errorf("%d lanes, %v, %v", n, found, err)
		}
		c.Close()
		for diff := "?"; diff != ""; { // the deletion of the one consumer is not waited for
			if diff = cmp.Diff(before, contents(t, nc)); ctx.Err() != nil {
				t.Fatalf("created %v: %s", created, diff)
			}
		}
	}
}

// TestTrialsNameDeniedSubjects: a user with few permissions gets all denied subjects.
func TestTrialsNameDeniedSubjects(t *testing.T) {
	t.Parallel()
	s := natstest.StartServer(t, func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "all", Password: "x"},
			{Username: "few", Password: "x", Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Deny: []string{"mp.run.*.end", "$JS.API.CONSUMER.MSG.NEXT.>", "$JS.ACK.>", "$KV.mp-lanes.>", "$JS.API.STREAM.CREATE.>", "$JS.API.INFO"}},
				Subscribe: &server.SubjectPermission{Deny: []string{"mp.bell.>"}},
			}},
		}
	})
	as := func(user string) broker.Config {
		cfg := config(t, s)
		cfg.URL = strings.Replace(s.URL(), "nats://", "nats://"+user+":x@", 1)
		return cfg
	}
	maker, err := broker.Connect(t.Context(), as("all"))
	natstest.Check(t, err)
	t.Cleanup(maker.Close)
	_, p := attach(t, as("few"), "mp-lanes", "mp-workers")
	ctx := natstest.Within(t)
	denied := map[string]bool{}
	for _, trial := range p.Trials(ctx) {
		if trial.Err != nil {
			denied[trial.What] = errors.Is(trial.Err, broker.ErrDenied) && strings.Contains(trial.Err.Error(), trial.Subject)
		}
	}
	want := map[string]bool{"write to a run's log": true, "pull a job": true, "acknowledge a job": true, "write to mp-lanes": true, "receive the bells of new jobs": true}
	if diff := cmp.Diff(want, denied); diff != "" {
		t.Error(diff)
	}
	if err := p.MayCreate(ctx, "mp-workers"); !errors.Is(err, broker.ErrDenied) || !strings.Contains(err.Error(), "STREAM.CREATE.KV_mp-workers") {
		t.Errorf("%v", err)
	}
	if _, err := p.Account(ctx, 1); !errors.Is(err, broker.ErrDenied) {
		t.Errorf("%v", err)
	}
}

// TestImportantDifferencesAreReported: the streams have other settings.
func TestImportantDifferencesAreReported(t *testing.T) {
	t.Parallel()
	s := natstest.InProcess(t)
	ctx := natstest.Within(t)
	js := natstest.Must[natsjs.JetStream](t)(natsjs.New(s.Connect(t)))
	natstest.Must[natsjs.Stream](t)(js.CreateStream(ctx, natsjs.StreamConfig{
		Name: "MP_JOBS", Subjects: []string{"mp.job.>"}, Storage: natsjs.MemoryStorage, MaxBytes: 1 << 20, MaxMsgSize: 1000,
	}))
	natstest.Must[natsjs.Consumer](t)(js.CreateConsumer(ctx, "MP_JOBS", natsjs.ConsumerConfig{Durable: "any", AckPolicy: natsjs.AckExplicitPolicy, MaxDeliver: 3}))
	_, p := attach(t, config(t, s))
	var text []string
	breaks := 0
	note := func(list []natsprobe.Difference) {
		for _, d := range list {
			text = append(text, d.Text)
			if d.Breaks {
				breaks++
			}
		}
	}
	note(p.Assets(ctx)[0].Differences)
	_, lanes, err := p.Lanes(ctx)
	natstest.Check(t, err)
	note(lanes)
	for _, want := range []string{
		"retention is limits", "discards old messages", "refuses messages above 1000", "in memory", "republishes nothing",
		"lane any: a job is lost after 3 deliveries", "lane any: at most 1000", "lane any: it drops requests above 512",
	} {
		if !strings.Contains(strings.Join(text, "\n"), want) {
			t.Errorf("no %q in %q", want, text)
		}
	}
	if breaks != 4 {
		t.Errorf("%d break: %q", breaks, text)
	}
}

// TestProbeOfASilentServerEnds: the server accepts connections and sends nothing.
func TestProbeOfASilentServerEnds(t *testing.T) {
	t.Parallel()
	l := natstest.Must[net.Listener](t)(new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0"))
	defer l.Close()
	cfg := broker.Config{URL: "nats://" + l.Addr().String(), ConnectTimeout: 100 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)}
	if _, err := broker.Attach(natstest.Within(t), cfg); !errors.Is(err, broker.ErrUnreachable) {
		t.Errorf("%v", err)
	}
}
