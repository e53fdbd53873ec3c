package attempt

import (
	"context"
	"errors"
	"time"

	"github.com/modpipe/modpipe/jobs"
)

// Verdict is what to do with a delivery.
type Verdict int

// The verdicts.
const (
	Start Verdict = iota
	Leave         // another delivery holds the attempt, or its holder is unknown: do not acknowledge
	Drop          // the attempt is closed: acknowledge the job, and forget it
)

// claimAfter is how long an attempt without a key runs before it claims.
const claimAfter = 20 * time.Millisecond

// maxUnexplainedRefusals is how often a write is repeated when the cell does not
// explain its refusal. A write that is in flight on another replica causes such
// refusals for a moment.
const maxUnexplainedRefusals = 50

var errRefusedUnexplained = errors.New("the cell refuses a write that it should accept")

// Admit decides whether the delivery may start. A delivery that may be a duplicate
// claims first. So a module that kills its worker immediately is noticed: its next
// delivery may be a duplicate, and the loss after that one counts. A job that is
// older than the connection is asked about before that.
func (d *Delivery) Admit(ctx context.Context) Verdict {
	if d.from.MaybeDuplicate || d.from.Older {
		if ended, err := d.over(ctx); err != nil {
			return d.leaveQueued(err)
		} else if ended {
			return Drop
		}
	}
	if d.from.Older {
		if v := d.admitOlder(ctx); v != Start || d.Claimed() {
			return v
		}
	}
	if d.job.Keyed || d.job.ClaimFirst || d.from.MaybeDuplicate || d.from.Older {
		return d.claimFirst(ctx)
	}
	return Start
}

// admitOlder reads the cell of a delivery that may not claim without an answer, and
// asks unless the attempt is closed. Another delivery's claim means nothing here:
// it may be noise from a time at which the module was waiting, before the server
// lost the records that let it start.
func (d *Delivery) admitOlder(ctx context.Context) Verdict {
	at, err := d.readCell(ctx)
	switch {
	case err != nil:
		return d.leaveQueued(err)
	case at.state == closed:
		return at.state.verdict()
	}
	return d.askFor(ctx, at)
}

// askFor asks, and turns the answer into a verdict: Start when the delivery holds
// the attempt, or may claim it. It gives up after a time to live, because the jobs
// of a run without an orchestrator must not take all slots for ever. Such a job
// stays in the queue, is delivered again, and is asked about again.
func (d *Delivery) askFor(ctx context.Context, at cellView) Verdict {
	if d.w.silent.holds(d.job.Run, d.w.Clock.Now(), d.w.TTL) {
		return d.leaveQueued(errUnanswered)
	}
	patience, cancel := d.w.Clock.Within(ctx, d.w.TTL)
	defer cancel()
	a, err := d.ask(patience, at)
	if err != nil {
		if patience.Err() != nil && ctx.Err() == nil {
			d.w.silent.note(d.job.Run, d.w.Clock.Now(), d.w.TTL)
		}
		return d.leaveQueued(err)
	}
	d.w.silent.end(d.job.Run)
	return answers[a.State]
}

// answers maps an answer to a verdict.
var answers = map[jobs.Standing]Verdict{
	jobs.StandsClosed: Drop, jobs.StandsTaken: Leave, jobs.StandsYours: Start, jobs.StandsOpen: Start,
}

// verdict is what to do with a job in view of its cell.
func (s cellState) verdict() Verdict {
	switch s {
	case asExpected, myClaim:
		return Start
	case myOutcome, closed:
		return Drop
	case anothersClaim, unexplained:
	}
	return Leave
}

// leaveQueued leaves a job whose cell could not be read in the queue, which
// delivers it again.
func (d *Delivery) leaveQueued(err error) Verdict {
	d.w.Logger.Warn("left a job in the queue", "attempt", d.String(), "error", err)
	return Leave
}

// Claim is the record that claims the attempt for this delivery.
func (d *Delivery) Claim() jobs.Record {
	return jobs.Record{Claim: &jobs.Claim{
		Attempt: d.job.Attempt, Worker: d.w.Name, Incarnation: d.w.Incarnation, Nonce: d.from.Nonce, Started: d.began, XKey: d.from.XKey,
	}}
}

// claimFirst claims before the start. The lease must be live when the claim
// is first sent, and stay so (MayStart).
func (d *Delivery) claimFirst(ctx context.Context) Verdict {
	gaps, err := d.awaitLease(ctx)
	if err != nil {
		return d.leaveQueued(err)
	}
	d.gaps = gaps
	wait := FirstPause
	for range maxUnexplainedRefusals {
		patience, cancel := d.w.Clock.Within(ctx, d.w.TTL)
		p, err := d.append(patience, d.Claim())
		cancel()
		if err == nil {
			d.hold(p)
			return Start
		}
		if errors.Is(err, ErrDenied) {
			return d.leaveQueued(err)
		}
		broken := err
		at, err := d.readCell(ctx)
		if err != nil {
			return d.leaveQueued(err)
		}
		if errors.Is(broken, ErrReconnected) && at.state != myClaim { // its fence means nothing any more
			return d.leaveQueued(broken)
		}
		switch at.state {
		case myClaim:
			d.holdAt(at)
			return Start
		case unexplained:
			if v := d.askFor(ctx, at); v != Start || d.Claimed() {
				return v
			}
			continue
		case asExpected:
		case myOutcome, anothersClaim, closed:
			return at.state.verdict()
		}
		if err := d.w.Clock.Pause(ctx, wait); err != nil {
			return d.leaveQueued(err)
		}
		wait = min(2*wait, MaxPause)
	}
	return d.leaveQueued(errRefusedUnexplained)
}

// append writes a record into the cell, expecting what the delivery knows of it,
// and returns the position of the record. It writes no second claim: Reconnected
// may have found the first one.
func (d *Delivery) append(ctx context.Context, rec jobs.Record) (position, error) {
	p := *d.position.Load()
	if rec.Claim != nil && p.claim != 0 {
		return p, nil
	}
	seq, err := d.w.Log.Append(ctx, p.on, d.cell(), p.expect, rec)
	p.expect = seq
	return p, err
}

// hold notes the position of this delivery's claim.
func (d *Delivery) hold(p position) {
	if p.claim == 0 {
		p.claim = p.expect
	}
	d.position.Store(&p)
}

// holdAt is hold for a claim that was read from the cell.
func (d *Delivery) holdAt(at cellView) {
	p := position{on: at.on, expect: at.sequence, epoch: d.position.Load().epoch}
	d.hold(p)
}

// awaitLease waits for a live lease.
func (d *Delivery) awaitLease(ctx context.Context) (gaps int, err error) {
	for {
		_, renewed := d.w.KeyLease.Next()
		gaps, live := d.w.KeyLease.State(d.w.Clock.Now())
		if live {
			return gaps, nil
		}
		if err := d.w.Clock.Await(ctx, renewed); err != nil {
			return 0, err
		}
	}
}

// MayStart reports whether the attempt may start; it is the last check before the
// start. An attempt with a key starts only under a lease that has had no gap since
// its claim was sent; otherwise it is lost.
func (d *Delivery) MayStart() bool {
	return !d.job.Keyed || d.w.KeyLease.Unbroken(d.gaps, d.w.Clock.Now()) || d.w.Alone != nil && d.w.Alone()
}

// claimRunning claims an attempt without a key while it runs. When the claim is
// refused it ends the execution, unless the cell does not show the holder of the
// attempt: then it asks, and the execution goes on.
func (d *Delivery) claimRunning(ctx context.Context, superseded func()) {
	wait := FirstPause
	for range maxUnexplainedRefusals {
		var p position
		err := Persist(ctx, d.w.Clock, func(ctx context.Context) (err error) {
			p, err = d.append(ctx, d.Claim())
			return err
		})
		if err == nil {
			d.hold(p)
			return
		}
		if ctx.Err() != nil || errors.Is(err, ErrReconnected) {
			return // without a claim: the commit resolves it
		}
		at, err := d.readCell(ctx)
		if err != nil {
			return
		}
		switch at.state {
		case myClaim:
			d.holdAt(at)
			return
		case unexplained:
			a, err := d.ask(ctx, at)
			switch {
			case err != nil || a.State == jobs.StandsYours:
				return
			case a.State != jobs.StandsOpen:
				d.supersede(superseded)
				return
			}
			continue
		case asExpected:
		case myOutcome, anothersClaim, closed:
			d.supersede(superseded)
			return
		}
		if d.w.Clock.Pause(ctx, wait) != nil {
			return
		}
		wait = min(2*wait, MaxPause)
	}
}

// supersede ends an execution whose attempt another delivery holds, or is closed.
func (d *Delivery) supersede(superseded func()) {
	d.w.Logger.Info("another delivery holds this attempt, or it is closed: ended and discarded", "attempt", d.String())
	d.stops.Ask(Stop{Text: "superseded", Discard: true})
	superseded()
}
