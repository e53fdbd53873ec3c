package worker

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
)

// attempt is one delivery of a job on its way from the puller to the
// acknowledgement. Its own goroutine runs serve; others use stops and recheck.
type attempt struct {
	s       *shift
	d       *broker.Delivery
	job     *jobs.Job
	nonce   string
	began   time.Time
	stops   *stopper
	recheck chan struct{} // holds one token when the attempt should look whether it is still its own
	claimed atomic.Uint64 // sequence of its claim; 0 = none known
	gaps    int           // of the lease, when its claim was sent
	settles bool          // it holds room among the commits in the background
	abandon func()        // lets go of the log: what is discarded has none
}

func (s *shift) newAttempt(d *broker.Delivery) *attempt {
	return &attempt{
		s: s, d: d, job: &d.Job, nonce: rand.Text(), began: time.Now(),
		stops: newStopper(), recheck: make(chan struct{}, 1),
	}
}

// String names the attempt for people.
func (a *attempt) String() string {
	return fmt.Sprintf("%s %s #%d", a.job.Run, a.job.Name, a.job.Attempt)
}

// serve takes a delivery to its end. ctx ends when the worker has to go and
// nothing can be stored any more.
func (a *attempt) serve(ctx context.Context) {
	defer a.leaveRoom()
	switch a.admit(ctx) {
	case leave:
		a.release(ctx)
		return
	case drop:
		a.release(ctx)
		a.ack()
		return
	case start:
	}
	e, chunks, err := a.execute(ctx)
	if st, ok := a.stops.asked(); ok && st.discard {
		a.settleDiscarded(ctx)
		return
	}
	if err != nil && ctx.Err() == nil { // refused, not unanswered: the outcome says so
		e.status, e.text, err = jobs.AttemptFailed, "its log could not be stored: "+err.Error(), nil
	}
	if err == nil {
		err = a.settle(ctx, e, chunks)
	}
	if err != nil {
		a.s.log.Warn("an outcome could not be stored", "attempt", a.String(), "status", string(e.status), "error", err)
	}
}

// settleDiscarded takes an attempt that others have closed out of the queue.
func (a *attempt) settleDiscarded(ctx context.Context) {
	if seen, _, err := a.look(ctx); err == nil && seen == newer {
		a.ack()
	}
}

// execute runs the command and stores its log. Slots go back when the
// processes are gone; the rest of the log is stored in their absence.
func (a *attempt) execute(ctx context.Context) (e ending, chunks int, err error) {
	needs, err := a.results(ctx)
	if err != nil {
		a.release(ctx)
		return notStarted(fmt.Errorf("fetch what it needs: %w", err)), 0, ctx.Err()
	}
	log := newAttemptLog(func(ctx context.Context, chunk jobs.LogChunk) error {
		chunk.Writer = a.nonce
		return persist(ctx, func(ctx context.Context) error {
			return a.s.conn.AppendLog(ctx, a.job.Run, jobs.Key{Token: a.job.Token, Attempt: a.job.Attempt}, chunk)
		})
	})
	logging, abandon := context.WithCancel(ctx)
	defer abandon()
	a.abandon = abandon
	stored := make(chan struct{})
	a.s.attemptsWG.Go(func() {
		defer close(stored)
		chunks, err = log.run(logging)
	})
	e = a.run(ctx, needs, log)
	log.close()
	a.release(ctx)
	<-stored
	return e, chunks, err
}

// run is the execution proper, watched.
func (a *attempt) run(ctx context.Context, needs map[string]jobs.Need, out sink) ending {
	watched, cancel := context.WithCancel(ctx)
	watching := make(chan struct{})
	a.s.attemptsWG.Go(func() { defer close(watching); a.watch(watched) })
	e := a.start(ctx, needs, out)
	cancel()
	<-watching
	return e
}

// start runs the command or the function of the attempt.
func (a *attempt) start(ctx context.Context, needs map[string]jobs.Need, out sink) ending {
	c := &command{
		job: a.job, worker: a.s.cfg.Name, workspace: a.s.cfg.Workspace, environ: os.Environ(),
		allow:   allowance{all: a.s.cfg.PassAll, patterns: a.s.cfg.PassEnv},
		fencing: a.claimed.Load(), guard: a.s.guard, ready: a.mayStart,
	}
	if a.job.Command != nil {
		doc, err := needsJSON(needs, nil) // everything has been fetched
		if err != nil {
			return notStarted(fmt.Errorf("fetch what it needs: %w", err))
		}
		c.needs = doc
	}
	if a.job.Func != nil {
		f := &function{functions: a.s.cfg.Functions, command: c, request: a.request(needs)}
		return f.run(ctx, a.stops, out)
	}
	return c.run(a.stops, out)
}

// release gives the slots back, when there is room for another commit in the
// background.
func (a *attempt) release(ctx context.Context) {
	select {
	case a.s.settling <- struct{}{}:
		a.settles = true
	case <-ctx.Done():
	}
	a.s.freed(a.d.Slots)
	a.s.puller.Release(a.d.Slots)
}

func (a *attempt) leaveRoom() {
	if a.settles {
		<-a.s.settling
	}
}
