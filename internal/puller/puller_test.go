package puller_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/puller"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/test/natstest"
)

// crew is a worker for tests: it keeps deliveries until the test ends them, and
// checks that the puller never exceeds its slots.
type crew struct {
	*puller.Puller
	t     testing.TB
	c     *broker.Conn
	slots int
	got   chan *puller.Delivery

	mu   sync.Mutex
	held int
	most int
}

func newCrew(t testing.TB, c *broker.Conn, slots int) *crew {
	t.Helper()
	w := &crew{t: t, c: c, slots: slots, got: make(chan *puller.Delivery, 100_000)}
	w.Puller = puller.New(c.Conn, c.Queue, slots, func(d *puller.Delivery) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.held += d.Slots
		w.most = max(w.most, w.held)
		w.got <- d
	})
	natstest.Background(t, w.Run)
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.most > slots {
			t.Errorf("it held %d slots of %d", w.most, slots)
		}
	})
	return w
}

// Serve creates the lane, as an orchestrator does, and serves it.
func (w *crew) Serve(lane jobs.Lane, slots int) {
	w.t.Helper()
	natstest.Check(w.t, w.c.Queue.EnsureLane(w.t.Context(), lane))
	w.Puller.Serve(lane, slots)
}

func (w *crew) end(t testing.TB, d *puller.Delivery) {
	t.Helper()
	natstest.Check(t, d.Ack())
	w.free(d.Slots)
}

func (w *crew) free(slots int) {
	w.mu.Lock()
	w.held -= slots
	w.mu.Unlock()
	w.Release(slots)
}

func job(lane jobs.Lane, token string) *jobs.Job {
	return &jobs.Job{Run: "r", Lane: lane, Module: jobs.ModuleID(token), Name: token, Attempt: 1, Slots: 1}
}

func publish(t testing.TB, ctx context.Context, c *broker.Conn, list ...*jobs.Job) {
	t.Helper()
	done := make(chan error, len(list))
	for _, j := range list {
		c.Queue.Publish(ctx, j, func(err error) { done <- err })
	}
	for range list {
		natstest.Check(t, <-done)
	}
}

func TestPullerDeliversEveryJobOnceWithinItsSlots(t *testing.T) {
	t.Parallel()
	s := natstest.StartServer(t, nil)
	ctx := natstest.Within(t)
	const lanes, workers, n = 5, 4, 3000
	all := make(chan string, n)
	ends := make(chan struct{})
	defer close(ends)
	for i := range workers {
		w := newCrew(t, connect(t, s), 1+2*i)
		for l := range lanes {
			w.Serve(jobs.Lane(fmt.Sprint("lane", l)), 1+l%2)
		}
		go func() {
			for {
				select {
				case d := <-w.got:
					all <- d.Job.Name
					if err := d.Ack(); err != nil {
						t.Error(err)
					}
					w.free(d.Slots)
				case <-ends:
					return
				}
			}
		}()
	}
	c := connect(t, s)
	rng := rand.New(rand.NewPCG(1, 2))
	list := make([]*jobs.Job, n)
	for i := range list {
		list[i] = job(jobs.Lane(fmt.Sprint("lane", rng.IntN(lanes))), fmt.Sprint("m", i))
	}
	publish(t, ctx, c, list...)
	seen := map[string]bool{}
	for range n {
		name := natstest.Receive(t, ctx, all)
		if seen[name] {
			t.Fatalf("%s came twice", name)
		}
		seen[name] = true
	}
}

func TestPullerOutlivesCutsAndARestart(t *testing.T) {
	t.Parallel()
	s := natstest.StartServer(t, nil)
	ctx := natstest.Within(t)
	w := newCrew(t, connect(t, s), 4)
	w.Serve("any", 1)
	c := connect(t, s)
	const n = 2000
	published := make(chan struct{})
	go func() {
		defer close(published)
		for i := range n {
			j := job("any", fmt.Sprint("m", i))
			for ok := false; !ok; {
				done := make(chan error, 1)
				c.Queue.Publish(ctx, j, func(err error) { done <- err })
				err := <-done
				ok = err == nil || errors.Is(err, broker.ErrConflict) || ctx.Err() != nil
				if !ok {
					_, _ = c.Queue.Has(ctx, j.Lane, j.Run, jobs.AttemptID{Module: j.Module, Attempt: 1}) // returns when NATS is back
				}
			}
		}
	}()
	seen := map[string]bool{}
	for len(seen) < n {
		d := natstest.Receive(t, ctx, w.got)
		seen[d.Job.Name] = true
		_ = d.Ack() // the connection may be away: the job comes again
		w.free(d.Slots)
		switch len(seen) {
		case n / 4:
			s.CutClients()
		case n / 2:
			s.Restart(t)
		}
	}
	<-published
}

func TestJobOfSeveralSlotsIsNotStarved(t *testing.T) {
	t.Parallel()
	s := natstest.InProcess(t)
	ctx := natstest.Within(t)
	c := connect(t, s)
	w := newCrew(t, connect(t, s), 4)
	w.Serve("narrow", 1)
	w.Serve("wide", 4)
	for i := range 4 {
		publish(t, ctx, c, job("narrow", fmt.Sprint("m", i)))
	}
	held := []*puller.Delivery{natstest.Receive(t, ctx, w.got), natstest.Receive(t, ctx, w.got), natstest.Receive(t, ctx, w.got), natstest.Receive(t, ctx, w.got)}
	publish(t, ctx, c, job("wide", "wide"))
	for i := 4; ; i++ { // one ends, the next is there already
		publish(t, ctx, c, job("narrow", fmt.Sprint("m", i)))
		if len(held) > 0 {
			w.end(t, held[0])
			held = held[1:]
		}
		select {
		case d := <-w.got:
			if d.Job.Name == "wide" {
				if d.Slots != 4 {
					t.Errorf("it has %d slots", d.Slots)
				}
				return
			}
			held = append(held, d)
		case <-time.After(100 * time.Millisecond): // paces the stream; the slots are being kept
		case <-ctx.Done():
			t.Fatal("the wide job has not come")
		}
	}
}

func TestSmallWorkerGivesALargeJobAllItsSlots(t *testing.T) {
	t.Parallel()
	c := connect(t, natstest.InProcess(t))
	ctx := natstest.Within(t)
	w := newCrew(t, c, 2)
	w.Serve("big", 8)
	publish(t, ctx, c, job("big", "m"))
	if d := natstest.Receive(t, ctx, w.got); d.Slots != 2 {
		t.Errorf("it has %d slots", d.Slots)
	}
}

func TestDeliveriesThatMayBeDuplicatesAreMarked(t *testing.T) {
	t.Parallel()
	s := natstest.InProcess(t)
	c := connect(t, s)
	ctx := natstest.Within(t)
	natstest.Check(t, c.Queue.EnsureLane(ctx, "any"))
	publish(t, ctx, c, job("any", "early"))
	w := newCrew(t, connect(t, s), 1)
	w.Serve("any", 1)
	d := natstest.Receive(t, ctx, w.got)
	if !d.Older {
		t.Error("stored before the connection, and not older")
	}
	w.end(t, d)
	for i := 0; ; i++ { // until the puller has read the state of the queue
		publish(t, ctx, c, job("any", fmt.Sprint("fresh", i)))
		d = natstest.Receive(t, ctx, w.got)
		w.end(t, d)
		if !d.Older {
			break
		}
	}
	again := job("any", "again")
	again.MaybeDuplicate = true
	stale := job("any", "stale")
	stale.StoreBy = time.Now().Add(-time.Minute)
	for _, j := range []*jobs.Job{again, stale} {
		publish(t, ctx, c, j)
		d := natstest.Receive(t, ctx, w.got)
		if !d.MaybeDuplicate {
			t.Errorf("%s is not doubtful", d.Job.Name)
		}
		w.end(t, d)
	}
}

func TestJobTooLongForAMessageIsDelivered(t *testing.T) {
	t.Parallel()
	c := connect(t, natstest.InProcess(t))
	ctx := natstest.Within(t)
	w := newCrew(t, c, 1)
	w.Serve("any", 1)
	j := job("any", "m")
	rng := rand.NewChaCha8([32]byte{})
	noise := make([]byte, 1<<20)
	_, _ = rng.Read(noise) // never fails
	j.Command = &jobs.CommandJob{Run: string(noise)}
	publish(t, ctx, c, j)
	if d := natstest.Receive(t, ctx, w.got); d.Job.Command.Run != string(noise) {
		t.Error("it came otherwise")
	}
}

func TestPauseStopsDeliveries(t *testing.T) {
	t.Parallel()
	c := connect(t, natstest.InProcess(t))
	ctx := natstest.Within(t)
	w := newCrew(t, c, 2)
	w.Serve("any", 1)
	publish(t, ctx, c, job("any", "before"))
	w.end(t, natstest.Receive(t, ctx, w.got))
	natstest.Check(t, w.Pause(ctx))
	publish(t, ctx, c, job("any", "after"))
	other := newCrew(t, c, 2)
	other.Serve("any", 1)
	if d := natstest.Receive(t, ctx, other.got); d.Job.Name != "after" {
		t.Errorf("%s", d.Job.Name)
	}
	if len(w.got) != 0 {
		t.Error("a paused puller has delivered")
	}
}

func TestJobWithoutProgressIsDeliveredAgain(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T, s *natstest.Server) {
		cfg := config(t, s)
		cfg.Memory = true
		c := natstest.Must[*broker.Conn](t)(broker.Connect(t.Context(), cfg))
		t.Cleanup(c.Close)
		w := newCrew(t, c, 2)
		w.Serve("any", 1)
		publish(t, t.Context(), c, job("any", "m"))
		began := time.Now()
		first := natstest.Receive(t, t.Context(), w.got)
		tick := time.NewTicker(puller.AckWait / 3)
		defer tick.Stop()
		for range 9 {
			<-tick.C
			natstest.Check(t, first.InProgress())
		}
		again := natstest.Receive(t, t.Context(), w.got)
		if !again.MaybeDuplicate || again.Job.Name != "m" {
			t.Errorf("%+v", again)
		}
		if after := time.Since(began); after < 4*puller.AckWait-time.Second || after > 4*puller.AckWait+2*time.Second {
			t.Errorf("it came again after %v", after)
		}
		natstest.Check(t, again.Ack())
	})
}
