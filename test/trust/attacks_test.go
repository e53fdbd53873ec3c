package trust

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/topology"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/test/natstest"
)

// ask sends a request as a worker of the group ci, and returns the answer or why it is denied.
func (s *site) ask(t *testing.T, m *nats.Msg) string {
	t.Helper()
	nc := s.conns[ci]
	m.Reply = nc.NewInbox()
	answers := natstest.Must[*nats.Subscription](t)(nc.SubscribeSync(m.Reply))
	defer func() { _ = answers.Unsubscribe() }()
	natstest.Check(t, nc.PublishMsg(m))
	natstest.Check(t, nc.FlushTimeout(time.Minute))
	if err := nc.LastError(); err != nil && strings.Contains(err.Error(), `"`+m.Subject+`"`) {
		return "denied"
	}
	return string(natstest.Must[*nats.Msg](t)(answers.NextMsg(time.Minute)).Data)
}

// TestWorkerCannotEraseTheRegistry: not by a roll-up of one message, nor the entry of a
// worker of another group, nor by a message that never expires.
func TestWorkerCannotEraseTheRegistry(t *testing.T) {
	s := newSite(t)
	c := s.broker(t, boss)
	ctx := natstest.Within(t)
	registry := natstest.Must[*kv.Registry](t)(kv.OpenRegistry(ctx, c.Conn, 0))
	natstest.Check(t, registry.Register(ctx, jobs.WorkerInfo{Name: "prod.one", Incarnation: "i", Slots: 1}))
	for _, header := range []nats.Header{{"Nats-Rollup": {"all"}}, {"Nats-Rollup": {"sub"}}, {"Nats-TTL": {"never"}}} {
		if got := s.ask(t, &nats.Msg{Subject: "$KV.mp-workers.ci.evil", Header: header}); !strings.Contains(got, "error") {
			t.Errorf("%v: %s", header, got)
		}
	}
	if got := s.ask(t, &nats.Msg{Subject: "$KV.mp-workers.prod.one", Header: nats.Header{"KV-Operation": {"DEL"}}}); got != "denied" {
		t.Error(got)
	}
	list, err := registry.List(ctx)
	if err != nil || len(list) != 1 || list[0].Name != "prod.one" {
		t.Errorf("%v, %v", list, err)
	}
}

// TestWorkerCannotSmuggle: neither a consumer of its own, nor a stream that republishes,
// brings a message to a subject to which the worker may not publish.
func TestWorkerCannotSmuggle(t *testing.T) {
	s := newSite(t)
	c := s.broker(t, boss)
	for via, stream := range map[string]string{
		topology.Log("evil", jobs.AttemptID{Module: "x", Attempt: 1}): "MP_LOGS", "$O.mp-blobs.C.main.evil.1.1": "OBJ_mp-blobs", "$KV.mp-workers.ci.evil": "KV_mp-workers", "mp.run.evil.mod.x": "MP_RUNS",
	} {
		config := `{"stream_name":"` + stream + `","action":"create","config":{"name":"evil","deliver_subject":"mp.job.any.evil.x.1","ack_policy":"none","filter_subject":"` + via + `"}}`
		for _, call := range []string{"CONSUMER.CREATE." + stream, "CONSUMER.CREATE." + stream + ".evil", "CONSUMER.CREATE." + stream + ".evil." + via, "CONSUMER.DURABLE.CREATE." + stream + ".evil"} {
			if got := s.ask(t, &nats.Msg{Subject: "$JS.API." + call, Data: []byte(config)}); got != "denied" {
				t.Errorf("%s: %s", call, got)
			}
		}
	}
	natstest.Check(t, c.Purge(natstest.Within(t), "KV_mp-workers", ">"))
	republish := `{"name":"KV_mp-workers","subjects":["$KV.mp-workers.>"],"republish":{"src":"$KV.mp-workers.>","dest":"mp.ctl.>"}}`
	for _, call := range []string{"CREATE", "UPDATE", "RESTORE"} {
		if got := s.ask(t, &nats.Msg{Subject: "$JS.API.STREAM." + call + ".KV_mp-workers", Data: []byte(republish)}); got != "denied" {
			t.Errorf("%s: %s", call, got)
		}
	}
	if jobs := natstest.Must[map[jobs.RunID]bool](t)(c.Queue.Runs(natstest.Within(t))); len(jobs) != 0 {
		t.Errorf("jobs of %v", jobs)
	}
}

// TestSubmitterSubmits: with its role alone it stores a run and a cancellation.
func TestSubmitterSubmits(t *testing.T) {
	s := newSite(t)
	c := s.broker(t, giver)
	ctx := natstest.Within(t)
	if there, err := c.Runs.Exists(ctx, "r"); there || err != nil {
		t.Fatal(there, err)
	}
	long := strings.Repeat("x", 1<<20)
	natstest.Must[uint64](t)(c.Runs.Append(ctx, "r", "", 0, jobs.Record{Spec: &jobs.Spec{Run: "r", StartedBy: long}}))
	natstest.Must[uint64](t)(c.Runs.Append(ctx, "r", "", 0, jobs.Record{Cancel: &jobs.Cancel{ID: "i", By: "me"}}))
	if spec, err := s.broker(t, boss).Runs.Spec(ctx, "r"); err != nil || spec.StartedBy != long {
		t.Errorf("%v", err)
	}
}
