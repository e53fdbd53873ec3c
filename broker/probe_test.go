package broker_test

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/test/natstest"
)

func attach(t testing.TB, cfg broker.Config) *broker.Conn {
	t.Helper()
	c, err := broker.Attach(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// contents returns all streams of a server, with their positions and consumers.
func contents(t testing.TB, nc *nats.Conn) map[string]jetstream.StreamState {
	t.Helper()
	all := map[string]jetstream.StreamState{}
	list := must[jetstream.JetStream](t)(jetstream.New(nc)).ListStreams(within(t))
	for info := range list.Info() {
		all[info.Config.Name] = info.State
	}
	check(t, list.Err())
	return all
}

// TestTrialsLeaveNothing: attaching and all trials create no stream and leave no
// message, on a server with and without a topology.
func TestTrialsLeaveNothing(t *testing.T) {
	t.Parallel()
	s := natstest.InProcess(t)
	ctx := within(t)
	nc := s.Connect(t)
	for _, made := range []bool{false, true} {
		if made {
			c := connect(t, s)
			must[*broker.Bucket](t)(c.OpenBucket(ctx, broker.BucketConfig{Kind: "workers", Memory: true, TTL: time.Hour, MarkerTTL: time.Minute}))
			check(t, c.EnsureLane(ctx, "any"))
			must[uint64](t)(c.Append(ctx, "r", "m", 0, claim()))
		}
		before := contents(t, nc)
		c := attach(t, config(t, s))
		check(t, c.JetStream(ctx))
		for _, trial := range c.Trials(ctx, "workers", "lanes") {
			if trial.Err != nil {
				t.Errorf("made %v: %+v", made, trial)
			}
		}
		for _, a := range c.Assets(ctx, "workers") {
			check(t, c.MayCreate(ctx, a.Name))
			if made && (a.Err != nil || len(a.Differences) > 0) || !made && !errors.Is(a.Err, broker.ErrNotFound) {
				t.Errorf("made %v: %+v", made, a)
			}
		}
		if _, _, err := c.Clock(ctx); made != (err == nil) {
			t.Errorf("made %v: the clock: %v", made, err)
		}
		if n, found, err := c.LaneDifferences(ctx); made && (n != 1 || found != nil || err != nil) {
			t.Errorf("%d lanes, %v, %v", n, found, err)
		}
		c.Close()
		for diff := "?"; diff != ""; { // the deletion of the one consumer is not waited for
			if diff = cmp.Diff(before, contents(t, nc)); ctx.Err() != nil {
				t.Fatalf("made %v: %s", made, diff)
			}
		}
	}
}

// TestTrialsNameWhatIsDenied: a user with few permissions gets all denied subjects.
func TestTrialsNameWhatIsDenied(t *testing.T) {
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
	check(t, err)
	t.Cleanup(maker.Close)
	c := attach(t, as("few"))
	ctx := within(t)
	denied := map[string]bool{}
	for _, trial := range c.Trials(ctx, "lanes") {
		if trial.Err != nil {
			denied[trial.What] = errors.Is(trial.Err, broker.ErrDenied) && strings.Contains(trial.Err.Error(), trial.Subject)
		}
	}
	want := map[string]bool{"write to a run's log": true, "pull a job": true, "acknowledge a job": true, "write to mp-lanes": true, "hear of new jobs": true}
	if diff := cmp.Diff(want, denied); diff != "" {
		t.Error(diff)
	}
	if err := c.MayCreate(ctx, "mp-workers"); !errors.Is(err, broker.ErrDenied) || !strings.Contains(err.Error(), "STREAM.CREATE.KV_mp-workers") {
		t.Errorf("%v", err)
	}
	if _, err := c.AccountFacts(ctx); !errors.Is(err, broker.ErrDenied) {
		t.Errorf("%v", err)
	}
}

// TestImportantDifferencesAreReported: the streams have other settings.
func TestImportantDifferencesAreReported(t *testing.T) {
	t.Parallel()
	s := natstest.InProcess(t)
	ctx := within(t)
	js := must[jetstream.JetStream](t)(jetstream.New(s.Connect(t)))
	must[jetstream.Stream](t)(js.CreateStream(ctx, jetstream.StreamConfig{
		Name: "MP_JOBS", Subjects: []string{"mp.job.>"}, Storage: jetstream.MemoryStorage, MaxBytes: 1 << 20, MaxMsgSize: 1000,
	}))
	must[jetstream.Consumer](t)(js.CreateConsumer(ctx, "MP_JOBS", jetstream.ConsumerConfig{Durable: "any", AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: 3}))
	c := attach(t, config(t, s))
	var text []string
	breaks := 0
	note := func(list []broker.Difference) {
		for _, d := range list {
			text = append(text, d.Text)
			if d.Breaks {
				breaks++
			}
		}
	}
	note(c.Assets(ctx)[0].Differences)
	_, lanes, err := c.LaneDifferences(ctx)
	check(t, err)
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

// TestExaminingASilentServerEnds: the server accepts connections and sends nothing.
func TestExaminingASilentServerEnds(t *testing.T) {
	t.Parallel()
	l := must[net.Listener](t)(new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0"))
	defer l.Close()
	cfg := broker.Config{URL: "nats://" + l.Addr().String(), ConnectTimeout: 100 * time.Millisecond, Logger: quiet()}
	if _, err := broker.Attach(within(t), cfg); !errors.Is(err, broker.ErrUnreachable) {
		t.Errorf("%v", err)
	}
}
