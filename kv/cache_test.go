package kv_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/locks"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/test/natstest"
)

func openCache(t *testing.T, c *broker.Conn) *kv.Cache {
	t.Helper()
	cache, err := kv.OpenCache(t.Context(), c.Conn)
	check(t, err)
	return cache
}

func printOf(s string) string { return strings.Repeat(s, 64) }

func TestEntryIsReadInItsNamespaceOnly(t *testing.T) {
	t.Parallel()
	cache := openCache(t, connect(t, natstest.InProcess(t)))
	ctx := natstest.Within(t)
	check(t, cache.Store(ctx, "main", &jobs.CacheEntry{Fingerprint: printOf("a"), Run: "r1", Module: "build"}))
	e, err := cache.Read(ctx, "main", printOf("a"))
	check(t, err)
	if e.Run != "r1" || e.Namespace != "main" {
		t.Errorf("the entry is %+v", e)
	}
	if _, err := cache.Read(ctx, "other", printOf("a")); !errors.Is(err, jetstream.ErrNotFound) {
		t.Errorf("another namespace: %v", err)
	}
	list, err := cache.List(ctx, "*")
	check(t, err)
	if len(list) != 1 || list[0].Fingerprint != printOf("a") {
		t.Errorf("the list is %+v", list)
	}
	if gone, err := cache.Drop(ctx, e); err != nil || !gone {
		t.Errorf("drop: %t, %v", gone, err)
	}
	if _, err := cache.Read(ctx, "main", printOf("a")); !errors.Is(err, jetstream.ErrNotFound) {
		t.Errorf("after it was dropped: %v", err)
	}
}

func TestNamesThatLeaveANamespaceAreRefused(t *testing.T) {
	t.Parallel()
	cache := openCache(t, connect(t, natstest.InProcess(t)))
	ctx := natstest.Within(t)
	for _, name := range []string{"", "a.b", "*", ">", "a b", strings.Repeat("a", 65)} {
		if err := cache.Store(ctx, name, &jobs.CacheEntry{Fingerprint: printOf("a")}); err == nil {
			t.Errorf("namespace %q was accepted", name)
		}
		if err := cache.Store(ctx, "main", &jobs.CacheEntry{Fingerprint: name}); err == nil {
			t.Errorf("fingerprint %q was accepted", name)
		}
	}
}

// TestDamagedEntryIsNoResult writes what anyone with a permission may write.
func TestDamagedEntryIsNoResult(t *testing.T) {
	t.Parallel()
	c := connect(t, natstest.InProcess(t))
	cache := openCache(t, c)
	ctx := natstest.Within(t)
	of, err := jobs.Marshal(&jobs.CacheEntry{Fingerprint: printOf("b")})
	check(t, err)
	for name, data := range map[string][]byte{
		"empty": {}, "garbage": []byte("garbage"), "of another fingerprint": of, "of a newer version": {jobs.Version + 1, 0x80}, "nothing": {1, 0x80},
	} {
		_, err := c.Request(ctx, &nats.Msg{Subject: "$KV.mp-cache.main." + printOf("a"), Data: data})
		check(t, err)
		if _, err := cache.Read(ctx, "main", printOf("a")); err == nil || errors.Is(err, jetstream.ErrNotFound) {
			t.Errorf("an entry that is %s: %v", name, err)
		}
		if list, err := cache.List(ctx, "main"); err != nil || len(list) > 0 {
			t.Errorf("an entry that is %s is listed: %+v, %v", name, list, err)
		}
	}
}

func TestLargeEntryIsStoredWithoutTheItemsOfItsParts(t *testing.T) {
	t.Parallel()
	cache := openCache(t, connect(t, natstest.InProcess(t)))
	ctx := natstest.Within(t)
	items := make([]jobs.PartItem, 5000)
	for i := range items {
		items[i] = jobs.PartItem{Name: strings.Repeat("x", 30), Digest: make([]byte, 32)}
	}
	check(t, cache.Store(ctx, "main", &jobs.CacheEntry{Fingerprint: printOf("a"), Parts: []jobs.Part{{Name: "env", Digest: []byte{1}, Items: items}}}))
	e, err := cache.Read(ctx, "main", printOf("a"))
	check(t, err)
	if len(e.Parts) != 1 || len(e.Parts[0].Items) > 0 || e.Parts[0].Name != "env" {
		t.Errorf("the parts are %d", len(e.Parts))
	}
}

func TestIndexKeepsTheNewestFingerprints(t *testing.T) {
	t.Parallel()
	cache := openCache(t, connect(t, natstest.InProcess(t)))
	ctx := natstest.Within(t)
	hex := "0123456789abcdef"
	for i := range 25 {
		check(t, cache.AddToIndex(ctx, "main", "p", "build", strings.Repeat(hex[i%16:i%16+1], 63)+hex[i/16:i/16+1], time.Unix(int64(i), 0)))
	}
	x, err := cache.Index(ctx, "main", "p", "build")
	check(t, err)
	if len(x.Recent) != 20 || x.Recent[0].When.Unix() != 24 {
		t.Errorf("%d fingerprints, the newest of %v", len(x.Recent), x.Recent[0].When)
	}
	if x, err := cache.Index(ctx, "main", "p", "test"); err != nil || len(x.Recent) > 0 {
		t.Errorf("of another module: %+v, %v", x, err)
	}
}

func TestFlightHasOneHolderAndIsAnnouncedWhenItIsFree(t *testing.T) {
	t.Parallel()
	flights := openCache(t, connect(t, natstest.InProcess(t))).Flights()
	ctx := natstest.Within(t)
	flight := jobs.Flight("main", printOf("a"))
	a, b := holder("r1", "m", 1, 1), holder("r2", "m", 1, 1)
	freed := make(chan string, 10) // more than this test announces
	go func() { _ = flights.Watch(t.Context(), func(name string) { freed <- name }) }()
	if name := <-freed; name != "" {
		t.Errorf("the watch begins with %q", name)
	}
	others, err := locks.Acquire(ctx, flights, flight, a)
	check(t, err)
	if len(others) > 0 {
		t.Errorf("refused by %v", others)
	}
	if others, err = locks.Acquire(ctx, flights, flight, b); err != nil || len(others) != 1 {
		t.Errorf("a second holder: %v, %v", others, err)
	}
	check(t, locks.Release(ctx, flights, flight, a.Is))
	select {
	case name := <-freed:
		if name != flight.Name {
			t.Errorf("%q is free", name)
		}
	case <-ctx.Done():
		t.Fatal("it is not announced")
	}
}
