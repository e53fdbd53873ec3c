package broker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/test/natstest"
)

// replicated connects to any node of a cluster, and creates streams with three
// replicas.
func replicated(t *testing.T, nats *natstest.Cluster) *broker.Conn {
	t.Helper()
	c, err := broker.Connect(natstest.Within(t), broker.Config{URL: nats.URL(), Replicas: 3, ConnectTimeout: natstest.Patience, Logger: natstest.Quiet()})
	natstest.Check(t, err)
	t.Cleanup(c.Close)
	return c
}

// TestThreeReplicas: every stream and bucket that is created on a cluster has the
// configured number of replicas, also on a cluster with little room.
func TestThreeReplicas(t *testing.T) {
	t.Parallel()
	nats := natstest.StartCluster(t, 3, func(o *server.Options) { o.JetStreamMaxStore = 3 << 30 })
	c := replicated(t, nats)
	ctx := natstest.Within(t)
	natstest.Must[*jetstream.Bucket](t)(c.OpenBucket(ctx, jetstream.BucketConfig{Name: "mp-x"}))
	js := natstest.Must[natsjs.JetStream](t)(natsjs.New(nats.Nodes[0].Connect(t)))
	for _, name := range []string{"MP_JOBS", "MP_RUNS", "MP_LOGS", "OBJ_mp-blobs", "KV_mp-x"} {
		info := natstest.Must[natsjs.Stream](t)(js.Stream(ctx, name)).CachedInfo()
		if info.Config.Replicas != 3 || len(info.Cluster.Replicas) != 2 {
			t.Errorf("%s has %d replicas, %d beside its leader", name, info.Config.Replicas, len(info.Cluster.Replicas))
		}
	}
}

// TestLossOfTheLeader: the leader of the log of runs disappears. All acknowledged
// records remain, and readers and writers continue.
func TestLossOfTheLeader(t *testing.T) {
	t.Parallel()
	nats := natstest.StartCluster(t, 3, nil)
	c := replicated(t, nats)
	ctx := natstest.Within(t)
	natstest.Must[uint64](t)(c.Runs.Append(ctx, "r", "m1", 0, claim()))
	out, stop := following(t, ctx, c, "r")
	defer stop()
	natstest.Receive(t, ctx, out)
	js := natstest.Must[natsjs.JetStream](t)(natsjs.New(nats.Nodes[0].Connect(t)))
	nats.Kill(nats.Named(t, natstest.Must[natsjs.Stream](t)(js.Stream(ctx, "MP_RUNS")).CachedInfo().Cluster.Leader))
	for n := 2; n < 5; n++ {
		cell := jobs.ModuleID(fmt.Sprint("m", n))
		natstest.Must[uint64](t)(c.Runs.Append(ctx, "r", cell, 0, claim()))
		if e := natstest.Receive(t, ctx, out); e.Cell != cell {
			t.Errorf("followed to %s, not %s", e.Cell, cell)
		}
	}
	if log := natstest.Must[[]jobs.Entry](t)(c.Runs.Read(ctx, "r")); len(log) != 4 {
		t.Errorf("%d records", len(log))
	}
}

// TestTooFewServersForTheReplicasAreReported: the error names the remedy.
func TestTooFewServersForTheReplicasAreReported(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{
		"one server": natstest.StartServer(t, nil).URL(), "a cluster of two": natstest.StartCluster(t, 2, nil).URL(),
	} {
		_, err := broker.Connect(natstest.Within(t), broker.Config{URL: url, Replicas: 3, ConnectTimeout: time.Minute, Logger: natstest.Quiet()})
		if err == nil || !strings.Contains(err.Error(), "3 copies") || !strings.Contains(err.Error(), "--replicas") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
