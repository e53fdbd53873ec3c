package worker

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/modpipe/modpipe/internal/attempt"
	"github.com/modpipe/modpipe/internal/exec"
	"github.com/modpipe/modpipe/internal/ident"
	"github.com/modpipe/modpipe/internal/mask"
	"github.com/modpipe/modpipe/internal/puller"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// task is one delivery of a job on its way from the puller to the acknowledgement. It
// is the Host of its Delivery, which has the protocol.
type task struct {
	*attempt.Delivery
	s       *shift
	d       *puller.Delivery
	job     *jobs.Job
	settles bool          // it holds a place among the commits in the background
	secrets []mask.Secret // set before the execution starts, as mask is
	mask    *mask.Masker
	parcel  *parcel       // nil = no orchestrator sends it secrets
	waited  time.Duration // for its secrets
}

func (s *shift) newTask(d *puller.Delivery) *task {
	parcel := newParcel(&d.Job)
	from := attempt.Arrival{Nonce: ident.New(), XKey: parcel.key(), MaybeDuplicate: d.MaybeDuplicate, Older: d.Older, Connection: d.Connection}
	return &task{Delivery: s.self.Deliver(&d.Job, from), s: s, d: d, job: &d.Job, parcel: parcel}
}

// serve takes a delivery to its end. ctx ends when the worker has to end and nothing
// can be stored any more.
func (a *task) serve(ctx context.Context) {
	defer a.leaveRoom()
	if err := a.Serve(ctx, a); err != nil {
		a.s.log.Warn("an outcome could not be stored", "attempt", a.String(), "error", err)
	}
}

// Execute executes the job, and stores its log and outputs.
func (a *task) Execute(ctx context.Context) (*jobs.Outcome, error) {
	e, chunks, err := a.execute(ctx)
	if a.Discarded() {
		return nil, nil
	}
	if err != nil && ctx.Err() == nil { // refused, and not unanswered: the outcome reports it
		e.Status, e.Error, err = report.AttemptFailed, "its log could not be stored: "+err.Error(), nil
	}
	if err != nil {
		return nil, err
	}
	outputs, err := a.store(ctx, e)
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("store the outputs of %s: %w", a, err)
	}
	if err != nil && e.Status == report.AttemptSucceeded {
		e.Status, e.Error = report.AttemptFailed, "its outputs could not be stored: "+err.Error()
	}
	return a.outcome(e, outputs, chunks), nil
}

// outcome is the record of how the attempt ended.
func (a *task) outcome(e exec.Result, outputs jobs.Value, chunks int) *jobs.Outcome {
	return a.Sign(&jobs.Outcome{
		Status: e.Status, ExitCode: e.ExitCode, Error: jobs.Clip(e.Error, mostError), Reason: e.Reason, Outputs: outputs, Permanent: e.Permanent, Ignorable: e.Ignorable, RetryAfter: e.RetryAfter,
		Started: e.Started, Finished: e.Finished, LogChunks: chunks, Warnings: slices.Concat(a.job.Warnings, e.Warnings),
		Unable: e.Unable, Artifacts: e.Artifacts, CacheDirs: e.CacheDirs, Hermetic: e.Hermetic, Place: e.Place,
	})
}

// mostError is how many bytes of an error are kept: a function may return an error of
// any size.
const mostError = 64 << 10

// store stores the outputs of a command, or the result of a function.
func (a *task) store(ctx context.Context, e exec.Result) (jobs.Value, error) {
	if e.Typed {
		return a.s.conn.Values.Put(ctx, jobs.ResultOf(e.Value))
	}
	return a.s.conn.Values.Put(ctx, jobs.OutputsOf(e.Outputs))
}

// Ack removes the job from the queue.
func (a *task) Ack() {
	if err := a.d.Ack(); err != nil {
		a.s.log.Debug("a job was not acknowledged: it will come again and be recognised", "attempt", a.String(), "error", err)
	}
}

// execute executes the job and stores its log. The slots are free when the processes
// are gone; the rest of the log is stored in the background.
func (a *task) execute(ctx context.Context) (e exec.Result, chunks int, err error) {
	needs, err := a.results(ctx)
	if err != nil {
		a.Release(ctx)
		if st, ok := a.Stops().Asked(); ok {
			return exec.Result{Status: st.Status, Error: st.Text, Finished: time.Now()}, 0, ctx.Err()
		}
		return exec.NotStarted(fmt.Errorf("fetch what it needs: %w", err)), 0, ctx.Err()
	}
	log := newAttemptLog(a.sendLog)
	logging, abandon := context.WithCancel(ctx)
	defer abandon()
	stored := make(chan struct{})
	a.s.attemptsWG.Go(func() {
		defer close(stored)
		chunks, err = log.run(logging)
	})
	e = a.run(ctx, needs, log, abandon)
	e = e.Masked(a.mask)
	log.close()
	if e.Unable {
		a.s.cannotBegin(a, e.Error)
	}
	a.Release(ctx)
	<-stored
	return e, chunks, err
}

// sendLog sends a chunk of the attempt's log.
func (a *task) sendLog(ctx context.Context, chunk jobs.LogChunk) (func(context.Context) error, error) {
	chunk.Writer = a.Nonce()
	var stored func(context.Context) error
	err := persist(ctx, func(ctx context.Context) (err error) {
		stored, err = a.s.conn.Logs.ForAttempt(a.job.Key).Send(ctx, a.job.Run, jobs.AttemptID{Module: a.job.Module, Attempt: a.job.Attempt}, chunk)
		return err
	})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return persist(ctx, stored) }, nil
}

// run executes the job beside Watch. The log of an attempt that another process has
// closed is abandoned.
func (a *task) run(ctx context.Context, needs map[string]jobs.Need, out exec.Sink, abandon func()) exec.Result {
	watched, cancel := context.WithCancel(ctx)
	watching := make(chan struct{})
	a.s.attemptsWG.Go(func() { defer close(watching); a.Watch(watched, abandon) })
	defer func() { cancel(); <-watching }()
	if failed := a.receiveSecrets(ctx, out); failed != nil {
		return *failed
	}
	return a.start(ctx, needs, out)
}

// Release gives the slots back, when there is a place for another commit in the
// background.
func (a *task) Release(ctx context.Context) {
	select {
	case a.s.settling <- struct{}{}:
		a.settles = true
	case <-ctx.Done():
	}
	a.s.freed(a.d.Slots)
	a.s.puller.Release(a.d.Slots)
}

func (a *task) leaveRoom() {
	if a.settles {
		<-a.s.settling
	}
}
