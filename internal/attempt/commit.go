package attempt

import (
	"context"
	"errors"

	"github.com/modpipe/modpipe/jobs"
)

// Sign fills in whose outcome it is.
func (d *Delivery) Sign(o *jobs.Outcome) *jobs.Outcome {
	o.Attempt, o.Worker, o.Incarnation, o.Nonce = d.job.Attempt, d.w.Name, d.w.Incarnation, d.nonce
	return o
}

// Commit writes the outcome, expecting the claim's sequence, else the fence.
// Its verdict is what becomes of the job: Drop when the attempt is closed, by
// this outcome or by another, which makes this one worthless; Leave when
// another delivery holds it.
func (d *Delivery) Commit(ctx context.Context, o *jobs.Outcome) (Verdict, error) {
	expect := d.job.Fence
	if seq := d.claimed.Load(); seq != 0 {
		expect = seq
	}
	wait := FirstPause
	for range maxOdd {
		err := Persist(ctx, d.w.Clock, func(ctx context.Context) error {
			_, err := d.w.Log.Append(ctx, d.job.Run, d.job.Token, expect, jobs.Record{Outcome: o})
			return err
		})
		if err == nil {
			return Drop, nil
		}
		if !errors.Is(err, ErrConflict) {
			return Leave, err
		}
		seen, seq, err := d.look(ctx)
		if err != nil {
			return Leave, err
		}
		switch {
		case seen == myClaim && seq != expect:
			expect = seq
			continue
		case seen == anothersClaim || seen == newer:
			d.w.Logger.Info("the outcome came too late and is discarded", "attempt", d.String(), "status", string(o.Status))
			return seen.verdict(), nil
		case seen == myOutcome:
			return Drop, nil
		}
		if err := d.w.Clock.Pause(ctx, wait); err != nil { // refused by a write that cannot be read yet
			return Leave, err
		}
		wait = min(2*wait, MaxPause)
	}
	return Leave, errOdd
}
