package kv_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/test/natstest"
)

func openLeases(t *testing.T, c *broker.Conn) *kv.Leases {
	t.Helper()
	l, err := kv.OpenLeases(t.Context(), c.Conn)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func acquire(t *testing.T, l *kv.Leases, key, name string) *kv.RunLease {
	t.Helper()
	lease, err := l.Acquire(t.Context(), key, name)
	if err != nil {
		t.Fatal(err)
	}
	return lease
}

// TestKeptLeaseHasOneHolder also checks that the lease is free within its time to
// live after its holder has stopped keeping it.
func TestKeptLeaseHasOneHolder(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		c := connect(t, s)
		leases := openLeases(t, c)
		lease := acquire(t, leases, "r1", "first")
		acquire(t, leases, "r2", "second")
		ctx, stop := context.WithCancel(t.Context())
		var keeper errgroup.Group
		keeper.Go(func() error { return lease.Keep(ctx) })
		lease.SetEpoch(7)
		<-time.After(10 * leases.TTL())
		if _, err := leases.Acquire(t.Context(), "r1", "second"); !errors.Is(err, kv.ErrHeld) {
			t.Errorf("acquiring a kept lease: %v", err)
		}
		if h, err := leases.Holder(t.Context(), "r1"); err != nil || h.Holder != "first" || h.Epoch != 7 {
			t.Errorf("the holder is %+v, %v", h, err)
		}
		if err := leases.AwaitFree(t.Context(), "r1"); !errors.Is(err, kv.ErrHeld) {
			t.Errorf("awaiting a renewed lease: %v", err)
		}
		if err := leases.AwaitFree(t.Context(), "r2"); err != nil {
			t.Errorf("awaiting an expired lease: %v", err)
		}
		stop()
		if err := keeper.Wait(); err != nil {
			t.Errorf("keeping ended with %v", err)
		}
		began := time.Now()
		if err := leases.AwaitFree(t.Context(), "r1"); err != nil {
			t.Error(err)
		}
		if waited := time.Since(began); waited > leases.TTL()+time.Second {
			t.Errorf("free only after %v", waited)
		}
		acquire(t, leases, "r1", "second")
	})
}

// TestReleasedLeaseIsFree also checks that a release does not end the lease of
// another process.
func TestReleasedLeaseIsFree(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		leases := openLeases(t, connect(t, s))
		first := acquire(t, leases, "r1", "first")
		if err := first.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		acquire(t, leases, "r1", "second")
		if err := first.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if h, err := leases.Holder(t.Context(), "r1"); err != nil || h.Holder != "second" {
			t.Errorf("the holder is %+v, %v", h, err)
		}
		if err := first.Keep(t.Context()); !errors.Is(err, kv.ErrLapsed) || !errors.Is(err, kv.ErrHeld) {
			t.Errorf("keeping another process's lease: %v", err)
		}
	})
}

// TestHolderStopsBeforeItsLeaseExpires checks a holder without an acknowledgement.
// It stops before the server lets another process begin.
func TestHolderStopsBeforeItsLeaseExpires(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		leases := openLeases(t, connect(t, s))
		sent := time.Now()
		lease := acquire(t, leases, "r1", "first")
		s.Stop()
		if err := lease.Keep(t.Context()); !errors.Is(err, kv.ErrLapsed) {
			t.Fatalf("without a server: %v", err)
		}
		if held := time.Since(sent); held >= leases.TTL() || held < leases.TTL()/2 {
			t.Errorf("the lease has lapsed after %v", held)
		}
	})
}

// TestLeaseIsRenewedAfterItsEntryWasLost checks that a holder writes an entry again
// that the server has dropped early.
func TestLeaseIsRenewedAfterItsEntryWasLost(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		c := connect(t, s)
		leases := openLeases(t, c)
		lease := acquire(t, leases, "r1", "first")
		bucket, err := c.FindBucket(t.Context(), "mp-leases")
		if err != nil {
			t.Fatal(err)
		}
		if err := bucket.Delete(t.Context(), "r1"); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(t.Context(), leases.TTL()/6)
		defer stop()
		if err := lease.Keep(ctx); err != nil {
			t.Fatal(err)
		}
		if h, err := leases.Holder(t.Context(), "r1"); err != nil || h.Holder != "first" {
			t.Errorf("the holder is %+v, %v", h, err)
		}
	})
}
