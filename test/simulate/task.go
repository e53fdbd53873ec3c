package simulate

import (
	"context"
	"time"

	"github.com/modpipe/modpipe/internal/attempt"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// task is a delivery and its execution.
type task struct {
	*attempt.Delivery
	k        *worker
	from     delivered
	link     int // number of the connection on which it came
	c        *coroutine
	watch    *coroutine
	released bool
	running  bool // its processes exist
}

// Execute is the model of the processes of an attempt.
func (t *task) Execute(ctx context.Context) (*jobs.Outcome, error) {
	w, s := t.k.w, within(ctx)
	t.fetch(s) //nolint:contextcheck // s is the context, inside the simulation
	if st, ok := t.Stops().Asked(); ok {
		t.Release(ctx)
		return t.outcome(st.Status, st.Text), s.Err()
	}
	if !t.MayStart() {
		t.Release(ctx)
		return t.outcome(report.AttemptLost, "the worker's lease lapsed before the start"), s.Err()
	}
	if t.k.broken {
		t.k.cannotBegin() //nolint:contextcheck // a simulated party waits without a context
		t.Release(ctx)
		o := t.outcome(report.AttemptHandedBack, brokenMachine)
		o.Unable = true
		return o, s.Err()
	}
	started := t.k.now()
	w.checks.starts(w, t)
	watched := &scope{p: t.k.party, parent: s}
	t.watch = t.k.spawn(func(*coroutine) { t.Watch(watched, func() {}) }) //nolint:contextcheck // watched is below ctx
	o := t.process()
	w.checks.ends(w, t)
	t.running = false
	watched.cancel()
	t.k.wakeAll() // ends the watch
	t.Release(ctx)
	if w.chance(0.2) {
		t.c.wait(s, nil, w.between(time.Millisecond, 40*time.Millisecond)) // the worker stores the rest of the log
	}
	o.Started, o.Finished = started, t.k.now()
	if o.Status == report.AttemptSucceeded {
		o.Outputs, o.Hermetic = w.result(t.Job()), w.hermetic()
		w.checks.produced(w, t.Job(), o.Outputs)
	}
	return o, s.Err()
}

// fetch reads the values that the module needs before it starts, some of them from
// the server.
func (t *task) fetch(s *scope) {
	w := t.k.w
	if w.chance(0.1) {
		t.c.wait(s, nil, w.between(time.Millisecond, 60*time.Millisecond))
	}
	if w.chance(w.climate.long) { // as for large values
		t.c.wait(s, nil, w.between(100*time.Millisecond, 3*time.Second))
	}
	if !w.chance(0.15) {
		return
	}
	for range 1 + w.rand.IntN(3) {
		for s.Err() == nil && t.k.ask(s, "fetch", func() func() { return func() {} }) != nil {
			t.c.wait(s, nil, attempt.FirstPause)
		}
	}
}

func (t *task) outcome(s report.AttemptStatus, text string) *jobs.Outcome {
	return t.Sign(&jobs.Outcome{Status: s, Error: text, Finished: t.k.now()})
}

// process runs until the process ends, times out, or is stopped.
func (t *task) process() *jobs.Outcome {
	end := t.k.w.fate(t.Job())
	limit := t.Job().Timeout
	lasts := end.lasts
	if limit > 0 && limit < lasts {
		lasts = limit
	}
	unending := &scope{p: t.k.party}
	if !t.c.wait(unending, t.Stops().Changed(), lasts) {
		if lasts != limit {
			return t.outcome(end.status, end.text)
		}
		t.Stops().Ask(attempt.Stop{Status: report.AttemptTimedOut, Text: "timed out", Grace: t.Job().Grace})
	}
	st, _ := t.Stops().Asked()
	gone := t.k.now().Add(min(st.Grace, end.stays)) // TERM was sent
	for st.Grace > 0 && t.k.now().Before(gone) {
		t.c.wait(unending, t.Stops().Changed(), gone.Sub(t.k.now())+time.Microsecond)
		st, _ = t.Stops().Asked()
	}
	t.c.wait(unending, nil, t.k.w.between(time.Millisecond, killing))
	return t.outcome(st.Status, st.Text)
}

// Release gives the slots back.
func (t *task) Release(context.Context) {
	if t.released {
		return
	}
	t.released = true
	t.k.used -= t.from.slots
	t.k.w.after(0, t.k.party, "has a free slot", t.k.pull)
}

// Ack removes the job from the queue, if the message arrives.
func (t *task) Ack() {
	if t.link != t.k.link {
		return // the sequence may belong to another job by now
	}
	t.k.w.tell(t.k.party, "ack", func() {
		t.k.w.note("nats", "removes the job", t.Job().Run, t.Job().Module, t.Job().Attempt)
		t.k.w.server.ack(t.from.sequence)
	})
}

// closed forgets a task whose delivery has ended.
func (t *task) closed() {
	for i, o := range t.k.tasks {
		if o == t {
			t.k.tasks = append(t.k.tasks[:i], t.k.tasks[i+1:]...)
			break
		}
	}
}

// abandon ends the execution and the coroutines of a task whose worker has died.
func (t *task) abandon() {
	if t.running {
		t.k.w.checks.ends(t.k.w, t)
		t.running = false
	}
	if t.watch != nil {
		t.watch.stop()
	}
	if t.c != nil {
		t.c.stop()
	}
}

// fate is the course of an execution that is not stopped.
type fate struct {
	lasts  time.Duration
	stays  time.Duration // time from TERM to its end
	status report.AttemptStatus
	text   string
}

// fate draws the fate of an execution. Two executions of one attempt may differ.
func (w *world) fate(*jobs.Job) fate {
	f := fate{status: report.AttemptSucceeded, stays: w.between(0, 400*time.Millisecond)}
	switch n := w.rand.IntN(100); {
	case w.chance(w.climate.quick):
		f.lasts = w.between(time.Millisecond, 18*time.Millisecond)
	case n < 65:
		f.lasts = w.between(20*time.Millisecond, 800*time.Millisecond)
	case n < 93:
		f.lasts = w.between(time.Second, 5*time.Second)
	default:
		f.lasts = time.Hour
	}
	switch {
	case w.chance(w.climate.failing):
		f.status, f.text = report.AttemptFailed, "exit code 1"
	case w.chance(0.03):
		f.status = report.AttemptHandedBack // as by a worker of another version, which stores an outcome only
	}
	if w.chance(0.1) {
		f.stays = time.Hour // it ignores TERM
	}
	return f
}
