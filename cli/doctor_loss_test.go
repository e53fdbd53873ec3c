package cli_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/modpipe/modpipe/cli"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/test/natstest"
)

// TestDoctorShowsWhatALossLeft: a reader beyond the end of its stream, a run
// without an orchestrator, a claim of a worker that is not registered, one that
// its worker does not execute, and a stream that is missing.
func TestDoctorShowsWhatALossLeft(t *testing.T) {
	s := natstest.StartServer(t, nil)
	ctx := t.Context()
	c := connect(t, s.URL())
	js, err := jetstream.New(s.Connect(t))
	ok(t, err)
	registry, err := kv.OpenRegistry(ctx, c.Conn, 10*time.Minute)
	ok(t, err)
	ok(t, registry.Register(ctx, jobs.WorkerInfo{Name: "idle", Incarnation: "1", Slots: 1}))
	write := func(cell jobs.ModuleID, rec jobs.Record) {
		t.Helper()
		_, err := c.Runs.Append(ctx, "r1", cell, 0, rec)
		ok(t, err)
	}
	write("", jobs.Record{Spec: &jobs.Spec{Run: "r1", Pipeline: &pipeline.Pipeline{Name: "p"}}})
	write("a", jobs.Record{Claim: &jobs.Claim{Attempt: 1, Worker: "idle", Incarnation: "1", Nonce: "n"}})
	write("b", jobs.Record{Claim: &jobs.Claim{Attempt: 1, Worker: "gone", Incarnation: "2", Nonce: "m"}})
	_, err = js.CreateConsumer(ctx, "MP_RUNS", jetstream.ConsumerConfig{
		Name: "deaf", DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: 500, InactiveThreshold: time.Hour,
	})
	ok(t, err)
	p := newProgram(t, cli.Orchestrator)
	found := diagnose(t, p, 3, "-s", s.URL())
	found.want(t, "readers", "fault", "a reader of MP_RUNS waits after sequence 499, and the stream ends at 3")
	found.want(t, "runs", "warning", "no orchestrator decides for 1 run: r1", "orchestrator resume")
	found.want(t, "claims", "warning", "a of run r1, attempt 1, by worker idle", "does not execute it")
	found.want(t, "absent workers", "warning", "b of run r1, attempt 1, by worker gone", "not registered")

	ok(t, js.DeleteStream(context.WithoutCancel(ctx), "MP_RUNS"))
	found = diagnose(t, p, 3, "-s", s.URL())
	found.want(t, "lost streams", "fault", "MP_RUNS: missing, although 1 worker", "submit again")
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
