package worker

import (
	"context"
	"errors"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
)

// verdict is what becomes of a delivery.
type verdict int

const (
	start verdict = iota
	leave         // it is somebody else's, or unknown: no acknowledgement of any kind
	drop          // it is closed: acknowledge and forget
)

// claimAfter is how long an attempt without a key runs before it claims.
const claimAfter = 20 * time.Millisecond

// maxOdd is how often a refusal is tried again that the cell does not
// explain: a write that is still in flight on another replica does so for a
// moment, a log that has lost its end for ever.
const maxOdd = 50

// admit decides whether the delivery may start. What is doubtful claims first,
// so that a module which kills its worker at once is seen to: its next
// delivery is, and the loss after it counts.
func (a *attempt) admit(ctx context.Context) verdict {
	if a.d.Doubtful {
		if ended, err := a.over(ctx); err != nil {
			return a.puzzled(err)
		} else if ended {
			return drop
		}
	}
	if a.job.Keyed || a.job.ClaimFirst || a.d.Doubtful {
		return a.claimFirst(ctx)
	}
	return start
}

// verdict is what to do with a job that is not ours, by what the cell shows.
func (s sight) verdict() verdict {
	switch s {
	case nothingNew, myClaim:
		return start
	case anothersClaim:
		return leave
	case myOutcome, newer:
		return drop
	}
	return leave
}

// puzzled leaves a job alone whose cell could not be read: it will be
// delivered again.
func (a *attempt) puzzled(err error) verdict {
	a.s.log.Warn("left a job alone", "attempt", a.String(), "error", err)
	return leave
}

func (a *attempt) claimRecord() jobs.Record {
	return jobs.Record{Claim: &jobs.Claim{
		Attempt: a.job.Attempt, Worker: a.s.cfg.Name, Incarnation: a.s.incarnation, Nonce: a.nonce, Started: a.began,
	}}
}

// claimFirst claims what holds a key, before it starts. The lease must be
// live when the claim is first sent, and stay so (mayStart).
func (a *attempt) claimFirst(ctx context.Context) verdict {
	gaps, err := a.awaitLease(ctx)
	if err != nil {
		return a.puzzled(err)
	}
	a.gaps = gaps
	wait := firstPause
	for range maxOdd {
		patience, cancel := context.WithTimeout(ctx, a.s.ttl)
		seq, err := a.s.conn.Append(patience, a.job.Run, a.job.Token, a.job.Fence, a.claimRecord())
		cancel()
		if err == nil {
			a.claimed.Store(seq)
			return start
		}
		if errors.Is(err, broker.ErrDenied) {
			return a.puzzled(err)
		}
		seen, seq, err := a.look(ctx)
		if err != nil {
			return a.puzzled(err)
		}
		if seen == myClaim {
			a.claimed.Store(seq)
		}
		if seen != nothingNew {
			return seen.verdict()
		}
		if err := pause(ctx, wait); err != nil {
			return a.puzzled(err)
		}
		wait = min(2*wait, maxPause)
	}
	return a.puzzled(errOdd)
}

var errOdd = errors.New("the cell refuses what it should take: its log has lost its end")

// awaitLease waits for a live lease.
func (a *attempt) awaitLease(ctx context.Context) (gaps int, err error) {
	for {
		_, renewed := a.s.lease.next()
		gaps, live := a.s.lease.state(time.Now())
		if live {
			return gaps, nil
		}
		select {
		case <-renewed:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// mayStart is the last word before the start. What holds a key starts only
// under a lease that has had no gap since its claim was sent.
func (a *attempt) mayStart() bool {
	return !a.job.Keyed || a.s.lease.unbroken(a.gaps, time.Now())
}

// watch goes along with an execution: it claims what outlives 20 ms, and
// after a reconnect or a lapse sees whether the attempt is still ours.
func (a *attempt) watch(ctx context.Context) {
	if a.claimed.Load() == 0 {
		if pause(ctx, claimAfter) != nil {
			return
		}
		a.claimRunning(ctx)
	}
	for {
		select {
		case <-a.recheck:
			if seen, _, err := a.look(ctx); err == nil && seen.verdict() != start {
				a.supersede()
			}
		case <-ctx.Done():
			return
		}
	}
}

// claimRunning claims an attempt without a key while it runs; refused, it
// ends what it runs.
func (a *attempt) claimRunning(ctx context.Context) {
	wait := firstPause
	for range maxOdd {
		var seq uint64
		err := persist(ctx, func(ctx context.Context) (err error) {
			seq, err = a.s.conn.Append(ctx, a.job.Run, a.job.Token, a.job.Fence, a.claimRecord())
			return err
		})
		if err == nil {
			a.claimed.Store(seq)
			return
		}
		if ctx.Err() != nil {
			return
		}
		seen, seq, err := a.look(ctx)
		switch {
		case err != nil:
			return // without a claim: the commit finds out
		case seen == myClaim:
			a.claimed.Store(seq)
			return
		case seen != nothingNew:
			a.supersede()
			return
		}
		if pause(ctx, wait) != nil {
			return
		}
		wait = min(2*wait, maxPause)
	}
}

// supersede ends an execution that is nobody's any more.
func (a *attempt) supersede() {
	a.s.log.Info("somebody else has this attempt: ended and discarded", "attempt", a.String())
	a.stops.ask(stop{text: "superseded", discard: true})
	a.abandon()
}
