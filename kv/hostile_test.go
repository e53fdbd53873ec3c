package kv_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
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

// TestRegistryWithOtherSettingsIsNotJoinedAgain: NATS has lost the registry, and another
// program has created it with another time to live, or so that messages go elsewhere.
func TestRegistryWithOtherSettingsIsNotJoinedAgain(t *testing.T) {
	t.Parallel()
	s := natstest.InProcess(t)
	c := connect(t, s)
	ctx := natstest.Within(t)
	registry(t, c, 10*time.Second)
	joined, err := kv.JoinRegistry(ctx, c.Conn)
	check(t, err)
	check(t, joined.Check(ctx))
	remove := func() {
		t.Helper()
		_, err := c.API(ctx, "STREAM.DELETE.KV_mp-workers", nil)
		check(t, err)
	}
	remove()
	registry(t, c, 3*time.Second)
	if err := joined.Check(ctx); !errors.Is(err, kv.ErrOther) {
		t.Errorf("another time to live: %v", err)
	}
	remove()
	_, err = c.API(ctx, "STREAM.CREATE.KV_mp-workers", []byte(`{"name":"KV_mp-workers","subjects":["$KV.mp-workers.>"],"storage":"memory","max_age":10000000000,"duplicate_window":10000000000,"republish":{"src":"$KV.mp-workers.>","dest":"mp.ctl.>"}}`))
	check(t, err)
	if err := joined.Check(ctx); !errors.Is(err, broker.ErrForeign) || !strings.Contains(err.Error(), "republishes") {
		t.Errorf("a registry that republishes: %v", err)
	}
}
