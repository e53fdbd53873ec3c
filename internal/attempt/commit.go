package attempt

import (
	"context"
	"errors"

	"github.com/modpipe/modpipe/jobs"
)

// Sign fills in whose outcome it is.
func (d *Delivery) Sign(o *jobs.Outcome) *jobs.Outcome {
	o.Attempt, o.Worker, o.Incarnation, o.Nonce = d.job.Attempt, d.w.Name, d.w.Incarnation, d.from.Nonce
	return o
}

// Commit writes the outcome, expecting the claim's sequence, else the fence.
// Its verdict is what becomes of the job: Drop when the attempt is closed, by
// this outcome or by another, which makes this one worthless; Leave when
// another delivery holds it, or the log has lost what this one held it by.
func (d *Delivery) Commit(ctx context.Context, o *jobs.Outcome) (Verdict, error) {
	wait := FirstPause
	for range maxOdd {
		err := Persist(ctx, d.w.Clock, func(ctx context.Context) error {
			_, err := d.append(ctx, jobs.Record{Outcome: o})
			return err
		})
		if err == nil {
			return Drop, nil
		}
		broken := errors.Is(err, ErrReconnected)
		if !broken && !errors.Is(err, ErrConflict) {
			return Leave, err
		}
		at, err := d.look(ctx)
		if err != nil {
			return Leave, err
		}
		v, again, err := d.refused(ctx, at, broken)
		if err != nil || !again {
			if v == Leave || at.what != myOutcome {
				d.w.Logger.Info("the outcome came too late and is discarded", "attempt", d.String(), "status", string(o.Status))
			}
			return v, err
		}
		if at.what != nothingNew {
			continue
		}
		if err := d.w.Clock.Pause(ctx, wait); err != nil { // refused by a write that cannot be read yet
			return Leave, err
		}
		wait = min(2*wait, MaxPause)
	}
	return Leave, errOdd
}

// refused says what a refused outcome means by what stands in the cell; again,
// when it is to be written once more. broken says that it was not sent, as the
// connection is another one now.
func (d *Delivery) refused(ctx context.Context, at seen, broken bool) (v Verdict, again bool, err error) {
	switch at.what {
	case myOutcome:
		return Drop, false, nil
	case myClaim:
		d.holdAt(at)
		return Leave, true, nil
	case anothersClaim, closed:
		return at.what.verdict(), false, nil
	case nothingNew:
		return Leave, true, nil
	case unclear:
	}
	if broken { // what it held the attempt by is gone, or hidden: it is forgotten
		return Leave, false, nil
	}
	held := d.Claimed()
	a, err := d.ask(ctx, at)
	switch {
	case errors.Is(err, ErrReconnected):
		return Leave, true, nil
	case err != nil:
		return Leave, false, err
	case a.State == jobs.StandsOpen && held:
		return Leave, false, nil // the log has lost its claim
	}
	v = answers[a.State]
	return v, v == Start, nil
}
