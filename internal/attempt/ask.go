package attempt

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// errLeft ends a question whose answer is no longer needed.
var errLeft = errors.New("it was asked to end before the orchestrator answered")

var errUnanswered = errors.New("no answer from the orchestrator of the run")

// askAgain is how long the first question waits for an answer.
const askAgain = 4 * FirstPause

// ask asks the orchestrator of the run about the attempt, and names the newest
// record of the cell. It repeats the question until there is an answer, or the run
// has ended, which counts as one; it writes nothing until then. When the answer
// names the last sequence of the cell, the next write expects it. ErrReconnected
// means that at was read on another connection: a server that has lost the last
// part of the log may never reach that sequence, so the caller reads again.
func (d *Delivery) ask(ctx context.Context, at cellView) (jobs.Answer, error) {
	wait := askAgain
	d.w.Logger.Debug("asking the orchestrator who holds the attempt", "attempt", d.String())
	for {
		if d.w.Log.Connection() != at.on {
			return jobs.Answer{}, fmt.Errorf("ask about %s: %w", d, ErrReconnected)
		}
		a, err := d.askOnce(ctx, at.sequence, wait)
		if err == nil {
			d.learn(a, at.on)
			return a, nil
		}
		if ctx.Err() != nil || errors.Is(err, ErrDenied) {
			return a, fmt.Errorf("ask about %s: %w", d, err)
		}
		if st, ok := d.stops.Asked(); ok && (st.Discard || st.Status == report.AttemptHandedBack) {
			return a, errLeft
		}
		ended, err := d.over(ctx)
		if ended {
			return jobs.Answer{State: jobs.StandsClosed}, nil
		}
		if err != nil {
			return a, fmt.Errorf("ask about %s: %w", d, err)
		}
		wait = min(2*wait, MaxPause)
	}
}

// askOnce sends one question and waits for its answer.
func (d *Delivery) askOnce(ctx context.Context, sequence uint64, most time.Duration) (jobs.Answer, error) {
	d.asked++
	id := fmt.Sprintf("%s.%d", d.from.Nonce, d.asked)
	d.asking.Store(&id)
	defer d.asking.Store(nil)
	patience, cancel := d.w.Clock.Within(ctx, most)
	defer cancel()
	err := d.w.Log.Ask(patience, d.job.Run, jobs.Question{
		Worker: d.w.Name, Module: d.job.Module, Attempt: d.job.Attempt, Nonce: d.from.Nonce, Sequence: sequence, ID: id,
	})
	if err != nil {
		return jobs.Answer{}, errors.Join(err, d.w.Clock.Pause(ctx, most))
	}
	for d.w.Clock.Await(patience, d.answered) == nil {
		if a := d.answer.Load(); a != nil && a.ID == id {
			return *a, nil
		}
	}
	return jobs.Answer{}, errUnanswered
}

// Answered passes on an answer, to a question of this delivery or of another one.
// An answer that is not signed with the key of the attempt is ignored.
func (d *Delivery) Answered(a *jobs.Answer, by Signature) {
	if id := d.asking.Load(); id == nil || *id != a.ID || !d.believes(by) {
		return
	}
	d.answer.Store(a)
	select {
	case d.answered <- struct{}{}:
	default:
	}
}

// learn adopts what an answer says about the cell.
func (d *Delivery) learn(a jobs.Answer, on uint64) {
	p := *d.position.Load()
	switch a.State {
	case jobs.StandsYours:
		p = position{on: on, expect: a.Last, claim: a.Claim, epoch: a.Epoch}
	case jobs.StandsOpen:
		p = position{on: on, expect: a.Last, epoch: a.Epoch}
	case jobs.StandsClosed, jobs.StandsTaken:
		return
	}
	d.position.Store(&p)
}
