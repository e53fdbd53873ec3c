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
// moment.
const maxOdd = 50

var errOdd = errors.New("the cell refuses what it should take")

// Admit decides whether the delivery may start. What is doubtful claims first,
// so that a module which kills its worker at once is seen to: its next
// delivery is, and the loss after it counts. What is older than the connection
// is asked about before that.
func (d *Delivery) Admit(ctx context.Context) Verdict {
	if d.from.MaybeDuplicate || d.from.Older {
		if ended, err := d.over(ctx); err != nil {
			return d.puzzled(err)
		} else if ended {
			return Drop
		}
	}
	if d.from.Older {
		if v := d.inquire(ctx); v != Start || d.Claimed() {
			return v
		}
	}
	if d.job.Keyed || d.job.ClaimFirst || d.from.MaybeDuplicate || d.from.Older {
		return d.claimFirst(ctx)
	}
	return Start
}

// inquire looks at the cell of a delivery that may not claim without an answer,
// and asks unless the attempt is closed. Another delivery's claim says nothing
// here: it may be noise that was written when the module was still waiting,
// before the server lost what let it start.
func (d *Delivery) inquire(ctx context.Context) Verdict {
	at, err := d.look(ctx)
	switch {
	case err != nil:
		return d.puzzled(err)
	case at.what == closed:
		return at.what.verdict()
	}
	return d.askFor(ctx, at)
}

// askFor asks, and says what to do by the answer: Start where the delivery
// holds the attempt, or may claim it. It gives up after a time to live: where
// nobody decides for a run, its jobs must not take all slots for ever. Such a
// job is left alone, is delivered again, and is asked about again.
func (d *Delivery) askFor(ctx context.Context, at seen) Verdict {
	patience, cancel := d.w.Clock.Within(ctx, d.w.TTL)
	defer cancel()
	a, err := d.ask(patience, at)
	if err != nil {
		return d.puzzled(err)
	}
	return answers[a.State]
}

// answers is what to do by an answer.
var answers = map[jobs.Standing]Verdict{
	jobs.StandsClosed: Drop, jobs.StandsTaken: Leave, jobs.StandsYours: Start, jobs.StandsOpen: Start,
}

// verdict is what to do with a job by what the cell shows.
func (s sight) verdict() Verdict {
	switch s {
	case nothingNew, myClaim:
		return Start
	case myOutcome, closed:
		return Drop
	case anothersClaim, unclear:
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
		Attempt: d.job.Attempt, Worker: d.w.Name, Incarnation: d.w.Incarnation, Nonce: d.from.Nonce, Started: d.began,
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
		p, err := d.append(patience, d.Claim())
		cancel()
		if err == nil {
			d.hold(p)
			return Start
		}
		if errors.Is(err, ErrDenied) {
			return d.puzzled(err)
		}
		broken := err
		at, err := d.look(ctx)
		if err != nil {
			return d.puzzled(err)
		}
		if errors.Is(broken, ErrReconnected) && at.what != myClaim { // its fence means nothing any more
			return d.puzzled(broken)
		}
		switch at.what {
		case myClaim:
			d.holdAt(at)
			return Start
		case unclear:
			if v := d.askFor(ctx, at); v != Start || d.Claimed() {
				return v
			}
			continue
		case nothingNew:
		case myOutcome, anothersClaim, closed:
			return at.what.verdict()
		}
		if err := d.w.Clock.Pause(ctx, wait); err != nil {
			return d.puzzled(err)
		}
		wait = min(2*wait, MaxPause)
	}
	return d.puzzled(errOdd)
}

// append writes a record into the cell, expecting what the delivery knows of
// it, and returns the place of the record. It writes no second claim: that the
// first one stands may have been found when the connection was made again.
func (d *Delivery) append(ctx context.Context, rec jobs.Record) (place, error) {
	p := *d.place.Load()
	if rec.Claim != nil && p.claim != 0 {
		return p, nil
	}
	seq, err := d.w.Log.Append(ctx, p.on, d.job.Run, d.job.Module, p.expect, rec)
	p.expect = seq
	return p, err
}

// hold notes that the claim of this delivery stands at a place.
func (d *Delivery) hold(p place) {
	if p.claim == 0 {
		p.claim = p.expect
	}
	d.place.Store(&p)
}

// holdAt is hold for a claim that was read.
func (d *Delivery) holdAt(at seen) {
	p := place{on: at.on, expect: at.sequence, epoch: d.place.Load().epoch}
	d.hold(p)
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
// ends what it runs, unless the cell does not say whose the attempt is: then it
// asks, and goes on meanwhile.
func (d *Delivery) claimRunning(ctx context.Context, superseded func()) {
	wait := FirstPause
	for range maxOdd {
		var p place
		err := Persist(ctx, d.w.Clock, func(ctx context.Context) (err error) {
			p, err = d.append(ctx, d.Claim())
			return err
		})
		if err == nil {
			d.hold(p)
			return
		}
		if ctx.Err() != nil || errors.Is(err, ErrReconnected) {
			return // without a claim: the commit finds out
		}
		at, err := d.look(ctx)
		if err != nil {
			return
		}
		switch at.what {
		case myClaim:
			d.holdAt(at)
			return
		case unclear:
			a, err := d.ask(ctx, at)
			switch {
			case err != nil || a.State == jobs.StandsYours:
				return
			case a.State != jobs.StandsOpen:
				d.supersede(superseded)
				return
			}
			continue
		case nothingNew:
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

// supersede ends an execution that is another's, or of an attempt that is closed.
func (d *Delivery) supersede(superseded func()) {
	d.w.Logger.Info("somebody else has this attempt: ended and discarded", "attempt", d.String())
	d.stops.Ask(Stop{Text: "superseded", Discard: true})
	superseded()
}
