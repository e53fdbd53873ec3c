package attempt

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// errLeft ends a question to which no answer is needed any more.
var errLeft = errors.New("it was told to end before there was an answer whose it is")

var errUnanswered = errors.New("no answer from the orchestrator of the run")

// askAgain is how long an answer is waited for, at first.
const askAgain = 4 * FirstPause

// ask asks whoever decides for the run about the attempt, naming the newest
// record of the cell, until there is an answer or the run has ended, which is
// one. Nothing is written meanwhile. Where the answer names the last sequence
// of the cell, the next write expects it. ErrReconnected: at was read on another
// connection, and a server that has lost the last part of the log may never
// reach that sequence; the caller has to look again.
func (d *Delivery) ask(ctx context.Context, at seen) (jobs.Answer, error) {
	wait := askAgain
	d.w.Logger.Debug("asks whose attempt this is", "attempt", d.String())
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

// Answered hears an answer to a question of this delivery or another.
func (d *Delivery) Answered(a *jobs.Answer) {
	if id := d.asking.Load(); id == nil || *id != a.ID {
		return
	}
	d.answer.Store(a)
	select {
	case d.answered <- struct{}{}:
	default:
	}
}

// learn takes over what an answer says of the cell.
func (d *Delivery) learn(a jobs.Answer, on uint64) {
	p := *d.place.Load()
	switch a.State {
	case jobs.StandsYours:
		p = place{on: on, expect: a.Last, claim: a.Claim, epoch: a.Epoch}
	case jobs.StandsOpen:
		p = place{on: on, expect: a.Last, epoch: a.Epoch}
	case jobs.StandsClosed, jobs.StandsTaken:
		return
	}
	d.place.Store(&p)
}
