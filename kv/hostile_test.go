package kv_test

import (
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/test/natstest"
)

// TestHeartbeatCountsOnlyUnderTheNameOfItsSender also checks that an entry under
// another name, or one that is not a heartbeat, blocks no worker's name.
func TestHeartbeatCountsOnlyUnderTheNameOfItsSender(t *testing.T) {
	t.Parallel()
	c := connect(t, natstest.InProcess(t))
	ctx := natstest.Within(t)
	r := registry(t, c, 0)
	one := jobs.WorkerInfo{Name: "one", Incarnation: "i", Slots: 1}
	check(t, r.Register(ctx, one))
	ghost, err := jobs.Marshal(&jobs.WorkerInfo{Name: "ghost", Incarnation: "g", Slots: 64})
	check(t, err)
	put := func(key string, data []byte) {
		t.Helper()
		_, err := c.Request(ctx, &nats.Msg{Subject: "$KV.mp-workers." + key, Data: data})
		check(t, err)
	}
	for _, body := range [][]byte{ghost, {}, {1, 0xc0}, {1, 0xc1}, []byte("\x00")} {
		put("default.one", body)
		put("other", body)
		put("default.other", body)
		put("ci.one", body)
		put("ci.ghost", body)
		put("default.one.two", body)
		list, err := r.List(ctx)
		check(t, err)
		if len(list) != 0 {
			t.Errorf("%q counts as %+v", body, list)
		}
		check(t, r.Beat(ctx, one))
	}
	list, err := r.List(ctx)
	check(t, err)
	if len(list) != 1 || list[0].Name != "one" || list[0].Slots != 1 {
		t.Errorf("the registry: %+v", list)
	}
	inGroup := jobs.WorkerInfo{Name: "ci.one", Incarnation: "i", Slots: 2}
	check(t, r.Register(ctx, inGroup))
	if list, err = r.List(ctx); err != nil || len(list) != 2 || list[0].Name != "ci.one" {
		t.Errorf("the registry with a worker of a group: %+v, %v", list, err)
	}
	check(t, r.Leave(ctx, "ci.one"))
	put("ci.newer", []byte{jobs.Version + 1, 0x80})
	if list, err = r.List(ctx); err != nil || len(list) != 2 || list[0].Name != "ci.newer" || list[0].Slots != 0 {
		t.Errorf("the registry with a worker of a newer version: %+v, %v", list, err)
	}
}
