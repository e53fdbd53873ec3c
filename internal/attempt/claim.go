package attempt

import (
	"context"
	"errors"
	"time"

	"github.com/modpipe/modpipe/jobs"
)

// Verdict is what becomes of a delivery.
type Verdict int

// The verdicts.
const (
	Start Verdict = iota
	Leave         // it is somebody else's, or unknown: no acknowledgement of any kind
	Drop          // it is closed: acknowledge and forget
)

// claimAfter is how long an attempt without a key runs before it claims.
const claimAfter = 20 * time.Millisecond

// maxOdd is how often a refusal is tried again that the cell does not
// explain: a write that is still in flight on another replica does so for a
// moment, a log that has lost its end for ever.
const maxOdd = 50

var errOdd = errors.New("the cell refuses what it should take: its log has lost its end")

// Admit decides whether the delivery may start. What is doubtful claims first,
// so that a module which kills its worker at once is seen to: its next
// delivery is, and the loss after it counts.
func (d *Delivery) Admit(ctx context.Context) Verdict {
	if d.doubtful {
		if ended, err := d.over(ctx); err != nil {
			return d.puzzled(err)
		} else if ended {
			return Drop
		}
	}
	if d.job.Keyed || d.job.ClaimFirst || d.doubtful {
		return d.claimFirst(ctx)
	}
	return Start
}

// verdict is what to do with a job that is not ours, by what the cell shows.
func (s sight) verdict() Verdict {
	switch s {
	case nothingNew, myClaim:
		return Start
	case anothersClaim:
		return Leave
	case myOutcome, newer:
		return Drop
	}
	return Leave
}

// puzzled leaves a job alone whose cell could not be read: it will be
// delivered again.
func (d *Delivery) puzzled(err error) Verdict {
	d.w.Logger.Warn("left a job alone", "attempt", d.String(), "error", err)
	return Leave
}

// Claim is the record that claims the attempt for this delivery.
func (d *Delivery) Claim() jobs.Record {
	return jobs.Record{Claim: &jobs.Claim{
		Attempt: d.job.Attempt, Worker: d.w.Name, Incarnation: d.w.Incarnation, Nonce: d.nonce, Started: d.began,
	}}
}

// claimFirst claims before the start. The lease must be live when the claim
// is first sent, and stay so (MayStart).
func (d *Delivery) claimFirst(ctx context.Context) Verdict {
	gaps, err := d.awaitLease(ctx)
	if err != nil {
		return d.puzzled(err)
	}
	d.gaps = gaps
	wait := FirstPause
	for range maxOdd {
		patience, cancel := d.w.Clock.Within(ctx, d.w.TTL)
		seq, err := d.w.Log.Append(patience, d.job.Run, d.job.Token, d.job.Fence, d.Claim())
		cancel()
		if err == nil {
			d.claimed.Store(seq)
			return Start
		}
		if errors.Is(err, ErrDenied) {
			return d.puzzled(err)
		}
		seen, seq, err := d.look(ctx)
		if err != nil {
			return d.puzzled(err)
		}
		if seen == myClaim {
			d.claimed.Store(seq)
		}
		if seen != nothingNew {
			return seen.verdict()
		}
		if err := d.w.Clock.Pause(ctx, wait); err != nil {
			return d.puzzled(err)
		}
		wait = min(2*wait, MaxPause)
	}
	return d.puzzled(errOdd)
}

// awaitLease waits for a live lease.
func (d *Delivery) awaitLease(ctx context.Context) (gaps int, err error) {
	for {
		_, renewed := d.w.Lease.Next()
		gaps, live := d.w.Lease.State(d.w.Clock.Now())
		if live {
			return gaps, nil
		}
		if err := d.w.Clock.Await(ctx, renewed); err != nil {
			return 0, err
		}
	}
}

// MayStart is the last word before the start. What holds a key starts only
// under a lease that has had no gap since its claim was sent; what may not is
// lost.
func (d *Delivery) MayStart() bool {
	return !d.job.Keyed || d.w.Lease.Unbroken(d.gaps, d.w.Clock.Now()) || d.w.Alone != nil && d.w.Alone()
}

// claimRunning claims an attempt without a key while it runs; refused, it
// ends what it runs.
func (d *Delivery) claimRunning(ctx context.Context, superseded func()) {
	wait := FirstPause
	for range maxOdd {
		var seq uint64
		err := Persist(ctx, d.w.Clock, func(ctx context.Context) (err error) {
			seq, err = d.w.Log.Append(ctx, d.job.Run, d.job.Token, d.job.Fence, d.Claim())
			return err
		})
		if err == nil {
			d.claimed.Store(seq)
			return
		}
		if ctx.Err() != nil {
			return
		}
		seen, seq, err := d.look(ctx)
		switch {
		case err != nil:
			return // without a claim: the commit finds out
		case seen == myClaim:
			d.claimed.Store(seq)
			return
		case seen != nothingNew:
			d.supersede(superseded)
			return
		}
		if d.w.Clock.Pause(ctx, wait) != nil {
			return
		}
		wait = min(2*wait, MaxPause)
	}
}

// supersede ends an execution that is nobody's any more.
func (d *Delivery) supersede(superseded func()) {
	d.w.Logger.Info("somebody else has this attempt: ended and discarded", "attempt", d.String())
	d.stops.Ask(Stop{Text: "superseded", Discard: true})
	superseded()
}
