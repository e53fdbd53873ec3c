package attempt

import (
	"context"
	"errors"

	"github.com/modpipe/modpipe/jobs"
)

// Sign fills in which delivery the outcome is of.
func (d *Delivery) Sign(o *jobs.Outcome) *jobs.Outcome {
	o.Attempt, o.Worker, o.Incarnation, o.Nonce = d.job.Attempt, d.w.Name, d.w.Incarnation, d.from.Nonce
	return o
}

// Commit writes the outcome, expecting the claim's sequence, else the fence.
// Its verdict is what to do with the job: Drop when the attempt is closed, by this
// outcome or by another one, which makes this one worthless; Leave when another
// delivery holds it, or the log has lost the claim of this one.
func (d *Delivery) Commit(ctx context.Context, o *jobs.Outcome) (Verdict, error) {
	wait := FirstPause
	for unexplainedRefusals := 0; unexplainedRefusals < maxUnexplainedRefusals; {
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
		at, err := d.readCell(ctx)
		if err != nil {
			return Leave, err
		}
		v, again, err := d.refused(ctx, at, broken)
		if err != nil || !again {
			if v == Leave || at.state != myOutcome {
				d.w.Logger.Info("discarded an outcome that came too late", "attempt", d.String(), "status", string(o.Status))
			}
			return v, err
		}
		if at.state != asExpected {
			continue // an answer has explained the refusal, however often others write into the cell
		}
		unexplainedRefusals++
		if err := d.w.Clock.Pause(ctx, wait); err != nil { // refused by a write that cannot be read yet
			return Leave, err
		}
		wait = min(2*wait, MaxPause)
	}
	return Leave, errRefusedUnexplained
}

// refused turns the state of the cell after a refused outcome into a verdict; again
// means that the outcome has to be written once more. broken means that it was not
// sent, because there is a new connection.
func (d *Delivery) refused(ctx context.Context, at cellView, broken bool) (v Verdict, again bool, err error) {
	switch at.state {
	case myOutcome:
		return Drop, false, nil
	case myClaim:
		d.holdAt(at)
		return Leave, true, nil
	case anothersClaim, closed:
		return at.state.verdict(), false, nil
	case asExpected:
		return Leave, true, nil
	case unexplained:
	}
	if broken { // the claim is gone, or hidden: forget the attempt
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
