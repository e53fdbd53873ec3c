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

// The answers of Log, beside success. Any other error is not an answer.
var (
	ErrConflict = errors.New("another write came first")
	ErrNotFound = errors.New("not found")
	ErrDenied   = errors.New("permission denied")
	// ErrReconnected means that there is a new connection, and that nothing was sent.
	ErrReconnected = errors.New("reconnected")
)

// Cell is where the records of an attempt are, and its key.
type Cell struct {
	Run    jobs.RunID
	Module jobs.ModuleID
	Key    []byte // of the attempt; empty = the records of the run are not signed
}

// Signature reports whether a message over core NATS is signed with a key.
type Signature func(key []byte) bool

// Log is what a delivery needs of the log of its run.
type Log interface {
	// Connection is the number of the present connection. A restarted server
	// may have lost the last part of a log, and use its sequences again. So a
	// sequence that was read on one connection means nothing on another.
	Connection() uint64
	// Append signs a record with the key of a cell and writes it there, expecting
	// its last sequence as it was on a connection, and returns the record's. It is
	// not sent on another connection. ErrConflict, ErrDenied, ErrReconnected.
	Append(ctx context.Context, on uint64, cell Cell, expect uint64, rec jobs.Record) (uint64, error)
	// Last reads the newest record of a cell, and verifies it with the key of the
	// cell. ErrNotFound, ErrDenied.
	Last(ctx context.Context, cell Cell) (jobs.Entry, error)
	// Ended reports whether the run has its end record. ErrNotFound when there
	// is no such run; ErrDenied.
	Ended(ctx context.Context, run jobs.RunID) (bool, error)
	// Ask sends a question to the orchestrator of the run. It may be lost.
	Ask(ctx context.Context, run jobs.RunID, q jobs.Question) error
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

// Host does for a delivery what is not part of the protocol.
type Host interface {
	// Execute runs the job, with Delivery.Watch beside it, and gives its slots
	// back. It returns the outcome when the processes are gone and everything
	// that the outcome refers to is stored. It starts nothing unless MayStart.
	// The outcome does not count when the attempt was closed by another process.
	Execute(ctx context.Context) (*jobs.Outcome, error)
	// Release gives back the slots of a delivery that is not executed.
	Release(ctx context.Context)
	// Ack removes the job from the queue, if it came on the present connection.
	// On another one its place in the queue may belong to another job.
	Ack()
}

// Worker serves deliveries.
type Worker struct {
	Name        string
	Incarnation string
	TTL         time.Duration // of its entry in the registry; bounds the wait for the answer to a claim
	KeyLease    *KeyLease
	Log         Log
	Clock       Clock
	Logger      *slog.Logger
	// Alone reports whether no other process can hold the keys of this worker:
	// then a gap of its lease means nothing. nil = never.
	Alone func() bool

	silent silence
}

// Arrival is how a job arrived.
type Arrival struct {
	Nonce          string // that no other delivery has
	XKey           string // public key to which its secrets are sealed, for its claim; "" = it gets none
	MaybeDuplicate bool   // a copy of it may have been executed
	// Older means that it was stored before the connection began, so the records
	// that led to it may be lost.
	Older      bool
	Connection uint64 // on which it arrived
}

// Delivery is one copy of a job on its way to the acknowledgement.
type Delivery struct {
	w        *Worker
	job      *jobs.Job
	from     Arrival
	began    time.Time
	stops    *Stops
	recheck  chan struct{} // holds one token when it should read the cell again
	position atomic.Pointer[position]
	gaps     int // of the lease, when its claim was sent

	asked    int                         // questions so far
	asking   atomic.Pointer[string]      // id of the one that waits for an answer
	answer   atomic.Pointer[jobs.Answer] // the newest to such a one
	answered chan struct{}               // holds one token when there is one
}

// position is what a delivery knows of its cell.
type position struct {
	on     uint64 // connection on which it was read
	expect uint64 // last sequence of the cell: what the next write expects
	claim  uint64 // sequence of its claim; 0 = none
	epoch  uint64 // of the job, or of the answer that led to the claim
}

// Deliver returns a delivery of a job.
func (w *Worker) Deliver(job *jobs.Job, from Arrival) *Delivery {
	d := &Delivery{
		w: w, job: job, from: from, began: w.Clock.Now(),
		stops: NewStops(), recheck: make(chan struct{}, 1), answered: make(chan struct{}, 1),
	}
	d.position.Store(&position{on: from.Connection, expect: job.Fence, epoch: job.Epoch})
	return d
}

// Job is what is to be done.
func (d *Delivery) Job() *jobs.Job { return d.job }

// Nonce tells it from all other deliveries.
func (d *Delivery) Nonce() string { return d.from.Nonce }

// Began is when it arrived.
func (d *Delivery) Began() time.Time { return d.began }

// Stops holds the requests to end it.
func (d *Delivery) Stops() *Stops { return d.stops }

// cell is where its records are.
func (d *Delivery) cell() Cell {
	return Cell{Run: d.job.Run, Module: d.job.Module, Key: d.job.Key}
}

// believes reports whether a message comes from an orchestrator, as far as that can
// be verified.
func (d *Delivery) believes(by Signature) bool {
	return len(d.job.Key) == 0 || by != nil && by(d.job.Key)
}

// Token is its fencing token; 0 = none, because it has no claim.
func (d *Delivery) Token() uint64 {
	p := d.position.Load()
	if p.claim == 0 {
		return 0
	}
	return jobs.FencingToken(p.epoch, p.claim)
}

// Claimed reports whether it is known to have a claim.
func (d *Delivery) Claimed() bool { return d.position.Load().claim != 0 }

// Is reports whether both are copies of one attempt.
func (d *Delivery) Is(o *Delivery) bool {
	return d.job.Run == o.job.Run && d.job.Module == o.job.Module && d.job.Attempt == o.job.Attempt
}

// String names the attempt for people.
func (d *Delivery) String() string {
	return fmt.Sprintf("%s %s #%d", d.job.Run, d.job.Name, d.job.Attempt)
}

// Serve takes the delivery to its end. ctx ends when the worker has to end and
// nothing can be stored any more. The error means that the outcome is not stored.
func (d *Delivery) Serve(ctx context.Context, x Host) error {
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

// settle stores the outcome and acknowledges the job.
func (d *Delivery) settle(ctx context.Context, o *jobs.Outcome, x Host) error {
	v, err := d.Commit(ctx, o)
	if err != nil {
		return fmt.Errorf("commit %s as %s: %w", d, o.Status, err)
	}
	if v == Drop {
		x.Ack()
	}
	return nil
}

// settleDiscarded removes the job of an attempt from the queue that another process
// has closed.
func (d *Delivery) settleDiscarded(ctx context.Context, x Host) {
	if st, _ := d.stops.Asked(); st.Forget {
		return
	}
	if seen, err := d.readCell(ctx); err == nil && seen.state == closed {
		x.Ack()
	}
}

// Watch accompanies an execution until ctx ends. It claims an attempt that takes
// longer than 20 ms. After Recheck it ends an execution that has lost its attempt,
// and then calls superseded, perhaps more than once.
func (d *Delivery) Watch(ctx context.Context, superseded func()) {
	if !d.Claimed() {
		if d.w.Clock.Pause(ctx, claimAfter) != nil {
			return
		}
		d.claimRunning(ctx, superseded)
	}
	for d.w.Clock.Await(ctx, d.recheck) == nil {
		if d.superseded(ctx) {
			d.supersede(superseded)
		}
	}
}

// superseded reports whether another delivery holds the attempt, or it is closed. It
// asks when the cell does not show that.
func (d *Delivery) superseded(ctx context.Context) bool {
	seen, err := d.readCell(ctx)
	if err != nil || seen.state != unexplained {
		return err == nil && (seen.state == anothersClaim || seen.state == closed)
	}
	a, err := d.ask(ctx, seen)
	return err == nil && (a.State == jobs.StandsTaken || a.State == jobs.StandsClosed)
}

// Recheck makes Watch read the cell again: after a gap of the lease other processes
// may have concluded that the worker is lost.
func (d *Delivery) Recheck() {
	select {
	case d.recheck <- struct{}{}:
	default:
	}
}
