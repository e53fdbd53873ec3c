package attempt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/modpipe/modpipe/jobs"
)

// What Log answers with, beside success; any other error is no answer.
var (
	ErrConflict = errors.New("someone else has written first")
	ErrNotFound = errors.New("not found")
	ErrDenied   = errors.New("permission denied")
)

// Log is what a delivery needs of its run's log.
type Log interface {
	// Append writes a record to a cell, expecting its last sequence, and
	// returns the record's. ErrConflict, ErrDenied.
	Append(ctx context.Context, run jobs.RunID, cell jobs.Token, expect uint64, rec jobs.Record) (uint64, error)
	// Last reads the newest record of a cell. ErrNotFound, ErrDenied.
	Last(ctx context.Context, run jobs.RunID, cell jobs.Token) (jobs.Entry, error)
	// Ended reports whether the run has its end record. ErrDenied.
	Ended(ctx context.Context, run jobs.RunID) (bool, error)
}

// Clock is time.
type Clock interface {
	Now() time.Time
	// Pause waits for d, or until ctx ends: then it returns an error.
	Pause(ctx context.Context, d time.Duration) error
	// Await receives from c, or returns an error when ctx ends.
	Await(ctx context.Context, c <-chan struct{}) error
	// Within is ctx with a time limit.
	Within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc)
}

// Executor is what a delivery has done by whoever owns it.
type Executor interface {
	// Execute runs the job, with Delivery.Watch beside it, gives its slots
	// back, and returns the outcome when the processes are gone and all that
	// the outcome refers to is stored. It starts nothing unless MayStart.
	// What it returns does not count where somebody else has closed the attempt.
	Execute(ctx context.Context) (*jobs.Outcome, error)
	// Release gives the slots back of what is not executed.
	Release(ctx context.Context)
	// Ack takes the job out of the queue.
	Ack()
}

// Worker is who serves deliveries.
type Worker struct {
	Name        string
	Incarnation string
	TTL         time.Duration // of its entry in the registry; bounds the wait for the answer to a claim
	Lease       *Lease
	Log         Log
	Clock       Clock
	Logger      *slog.Logger
	// Alone reports whether no other process can hold what this worker holds:
	// then a gap of its lease means nothing. nil = never.
	Alone func() bool
}

// Delivery is one copy of a job on its way to the acknowledgement.
type Delivery struct {
	w        *Worker
	job      *jobs.Job
	nonce    string
	doubtful bool
	began    time.Time
	stops    *Stops
	recheck  chan struct{} // holds one token when it should look whether it is still its own
	claimed  atomic.Uint64 // sequence of its claim; 0 = none known
	gaps     int           // of the lease, when its claim was sent
}

// Deliver makes a delivery of a job. The nonce is one that no other has.
func (w *Worker) Deliver(job *jobs.Job, nonce string, doubtful bool) *Delivery {
	return &Delivery{
		w: w, job: job, nonce: nonce, doubtful: doubtful, began: w.Clock.Now(),
		stops: NewStops(), recheck: make(chan struct{}, 1),
	}
}

// Job is what is to be done.
func (d *Delivery) Job() *jobs.Job { return d.job }

// Nonce tells it from all other deliveries.
func (d *Delivery) Nonce() string { return d.nonce }

// Began is when it arrived.
func (d *Delivery) Began() time.Time { return d.began }

// Stops is where its end is asked for.
func (d *Delivery) Stops() *Stops { return d.stops }

// Token is the sequence of its claim, which fences what it does; 0 = none.
func (d *Delivery) Token() uint64 { return d.claimed.Load() }

// Is reports whether both are copies of one attempt.
func (d *Delivery) Is(o *Delivery) bool {
	return d.job.Run == o.job.Run && d.job.Token == o.job.Token && d.job.Attempt == o.job.Attempt
}

// String names the attempt for people.
func (d *Delivery) String() string {
	return fmt.Sprintf("%s %s #%d", d.job.Run, d.job.Name, d.job.Attempt)
}

// Serve takes the delivery to its end. ctx ends when the worker has to go and
// nothing can be stored any more. The error says that the outcome is not.
func (d *Delivery) Serve(ctx context.Context, x Executor) error {
	switch d.Admit(ctx) {
	case Leave:
		x.Release(ctx)
		return nil
	case Drop:
		x.Release(ctx)
		x.Ack()
		return nil
	case Start:
	}
	o, err := x.Execute(ctx)
	if d.Discarded() {
		d.settleDiscarded(ctx, x)
		return nil
	}
	if err != nil {
		return err
	}
	return d.settle(ctx, o, x)
}

// settle stores the outcome and acknowledges the job. ctx ends it when the
// worker has to go.
func (d *Delivery) settle(ctx context.Context, o *jobs.Outcome, x Executor) error {
	v, err := d.Commit(ctx, o)
	if err != nil {
		return fmt.Errorf("commit %s as %s: %w", d, o.Status, err)
	}
	if v == Drop {
		x.Ack()
	}
	return nil
}

// settleDiscarded takes an attempt that others have closed out of the queue.
func (d *Delivery) settleDiscarded(ctx context.Context, x Executor) {
	if seen, _, err := d.look(ctx); err == nil && seen == newer {
		x.Ack()
	}
}

// Watch goes along with an execution until ctx ends: it claims what outlives
// 20 ms, and when told to look, ends what is nobody's any more; then it calls
// superseded, perhaps more than once.
func (d *Delivery) Watch(ctx context.Context, superseded func()) {
	if d.claimed.Load() == 0 {
		if d.w.Clock.Pause(ctx, claimAfter) != nil {
			return
		}
		d.claimRunning(ctx, superseded)
	}
	for d.w.Clock.Await(ctx, d.recheck) == nil {
		if seen, _, err := d.look(ctx); err == nil && seen.verdict() != Start {
			d.supersede(superseded)
		}
	}
}

// Recheck has Watch look whether the attempt is still this delivery's: after a
// reconnect or a gap of the lease others may have thought its worker lost.
func (d *Delivery) Recheck() {
	select {
	case d.recheck <- struct{}{}:
	default:
	}
}
