package kv_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/locks"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/test/natstest"
)

func openLocks(t *testing.T, c *broker.Conn) *kv.Locks {
	t.Helper()
	l, err := kv.OpenLocks(t.Context(), c.Conn)
	check(t, err)
	return l
}

func holder(run jobs.RunID, moduleID jobs.ModuleID, attempt jobs.Attempt, epoch uint64) jobs.Holder {
	return jobs.Holder{Run: run, Module: moduleID, Attempt: attempt, Epoch: epoch}
}

// takes reports whether the holder has the lock now.
func takes(t *testing.T, l *kv.Locks, lock jobs.Lock, h jobs.Holder) bool {
	t.Helper()
	others, err := locks.Acquire(natstest.Within(t), l, lock, h)
	check(t, err)
	return len(others) == 0
}

func holds(t *testing.T, l *kv.Locks, lock jobs.Lock, want ...jobs.Holder) {
	t.Helper()
	got, err := l.Holders(natstest.Within(t), lock)
	check(t, err)
	if !slices.Equal(got, want) {
		t.Errorf("%s is held by %v, want %v", lock.Name, got, want)
	}
}

var database = jobs.Lock{Name: "the database, of *all* things > here\n", Max: 1}

func TestKeyHasOneHolder(t *testing.T) {
	t.Parallel()
	l := openLocks(t, connect(t, natstest.InProcess(t)))
	a, b := holder("r1", "m", 1, 1), holder("r2", "m", 1, 1)
	for range 2 { // the second time, the attempt finds its own entry
		if !takes(t, l, database, a) {
			t.Error("it is refused")
		}
	}
	others, err := locks.Acquire(natstest.Within(t), l, database, b)
	check(t, err)
	if !slices.Equal(others, []jobs.Holder{a}) {
		t.Errorf("refused because of %v", others)
	}
	if !takes(t, l, jobs.Lock{Name: database.Name, Limit: true, Max: 1}, b) {
		t.Error("a limit shares its entry with a key of the same name")
	}
	check(t, locks.Release(natstest.Within(t), l, database, b.Is))
	holds(t, l, database, a)
	check(t, locks.Release(natstest.Within(t), l, database, a.Is))
	holds(t, l, database)
	if !takes(t, l, database, b) {
		t.Error("what was given back is not free")
	}
}

// TestHolderOfARunIsReplacedByNewerOnesOnly checks that the next attempt replaces
// the previous one, and that a newer orchestrator's entry replaces an older one's.
func TestHolderOfARunIsReplacedByNewerOnesOnly(t *testing.T) {
	t.Parallel()
	l := openLocks(t, connect(t, natstest.InProcess(t)))
	takes(t, l, database, holder("r1", "m", 1, 1))
	for _, h := range []jobs.Holder{holder("r1", "m", 1, 2), holder("r1", "m", 2, 2)} {
		if !takes(t, l, database, h) {
			t.Errorf("%v is refused", h)
		}
		holds(t, l, database, h)
	}
	for _, h := range []jobs.Holder{holder("r1", "m", 1, 2), holder("r1", "m", 2, 1)} {
		if takes(t, l, database, h) {
			t.Errorf("%v takes the lock of a newer holder", h)
		}
	}
	holds(t, l, database, holder("r1", "m", 2, 2))
}

func TestLimitHasAsManyHoldersAsItAllows(t *testing.T) {
	t.Parallel()
	l := openLocks(t, connect(t, natstest.InProcess(t)))
	two, three := jobs.Lock{Name: "licences", Limit: true, Max: 2}, jobs.Lock{Name: "licences", Limit: true, Max: 3}
	a, b, c := holder("r1", "a", 1, 1), holder("r1", "b", 1, 1), holder("r2", "a", 1, 1)
	if !takes(t, l, two, a) || !takes(t, l, two, b) || takes(t, l, two, c) {
		t.Error("a limit of two has not two places")
	}
	if !takes(t, l, three, c) {
		t.Error("a limit of three has no third place")
	}
	if !takes(t, l, two, a) {
		t.Error("an attempt does not keep its place in a lock that is too full")
	}
	check(t, locks.Release(natstest.Within(t), l, two, func(h jobs.Holder) bool { return h.Run == "r1" }))
	holds(t, l, two, c)
}

// TestConcurrentHoldersStayWithinTheLimit also checks that each waiter gets the lock
// in the end.
func TestConcurrentHoldersStayWithinTheLimit(t *testing.T) {
	t.Parallel()
	s := natstest.InProcess(t)
	ctx := natstest.Within(t)
	lock := jobs.Lock{Name: "busy", Limit: true, Max: 2}
	var inside, most, done atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for i := range 8 {
		l := openLocks(t, connect(t, s))
		g.Go(func() error {
			for round := range 20 {
				h := holder(jobs.RunID(fmt.Sprintf("r%d", i)), "m", jobs.Attempt(round+1), 1)
				if err := hold(ctx, l, lock, h, &inside, &most); err != nil {
					return err
				}
				done.Add(1)
			}
			return nil
		})
	}
	check(t, g.Wait())
	if most.Load() > 2 || done.Load() != 160 {
		t.Errorf("%d held a limit of 2 together; %d of 160 had it", most.Load(), done.Load())
	}
	holds(t, openLocks(t, connect(t, s)), lock)
}

// hold waits for a lock and holds it for a moment.
func hold(ctx context.Context, l *kv.Locks, lock jobs.Lock, h jobs.Holder, inside, most *atomic.Int64) error {
	for {
		others, err := locks.Acquire(ctx, l, lock, h)
		if err != nil {
			return err
		}
		if len(others) == 0 {
			break
		}
	}
	now := inside.Add(1)
	for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
	}
	inside.Add(-1)
	return locks.Release(ctx, l, lock, h.Is)
}

func TestWatchReportsFreeLocks(t *testing.T) {
	t.Parallel()
	l := openLocks(t, connect(t, natstest.InProcess(t)))
	bells := make(chan struct{}, 100)
	natstest.Background(t, func(ctx context.Context) error {
		return l.Watch(ctx, func() []jobs.Lock { return []jobs.Lock{database} }, func() { bells <- struct{}{} })
	})
	ctx := natstest.Within(t)
	natstest.Receive(t, ctx, bells) // the watch starts
	h := holder("r1", "m", 1, 1)
	takes(t, l, database, h)
	takes(t, l, jobs.Lock{Name: "another", Max: 1}, h)
	check(t, locks.Release(ctx, l, jobs.Lock{Name: "another", Max: 1}, h.Is))
	check(t, locks.Release(ctx, l, database, h.Is))
	natstest.Receive(t, ctx, bells)
	select {
	case <-bells:
		t.Error("the watch reports a lock that is not free, or not one of ours")
	default:
	}
}

// TestEntryOfAFreeLockExpires also checks that an entry with a holder does not expire.
func TestEntryOfAFreeLockExpires(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		l := openLocks(t, connect(t, s))
		kept := jobs.Lock{Name: "kept", Max: 1}
		a := holder("r1", "m", 1, 1)
		takes(t, l, database, a)
		takes(t, l, kept, a)
		check(t, locks.Release(t.Context(), l, database, a.Is))
		<-time.After(100 * time.Hour)
		synctest.Wait()
		holds(t, l, kept, a)
		js, err := jetstream.New(s.Connect(t))
		check(t, err)
		bucket, err := js.KeyValue(t.Context(), "mp-locks")
		check(t, err)
		status, err := bucket.Status(t.Context())
		check(t, err)
		if status.Values() != 1 {
			t.Errorf("%d entries are left, want 1", status.Values())
		}
		if !takes(t, l, database, holder("r2", "m", 1, 1)) {
			t.Error("a forgotten lock is not free")
		}
	})
}
