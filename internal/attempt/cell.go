package attempt

import (
	"context"
	"errors"
	"fmt"

	"github.com/modpipe/modpipe/jobs"
)

// cellState is what a delivery finds in the cell of its module.
type cellState int

const (
	asExpected    cellState = iota // the record that its next write expects
	myClaim                        // by this delivery of this incarnation
	myOutcome                      // likewise
	anothersClaim                  // of this attempt, by another delivery, which runs it
	closed                         // it has an outcome
	unexplained                    // any other record: it may be noise, and hides the records before it
)

// cellView is the state of a cell, and where it was read.
type cellView struct {
	state    cellState
	sequence uint64 // of the newest record of the cell; 0 = it has none
	on       uint64 // connection on which it was read, or an earlier one
}

// readCell reads the newest record of the cell. It tries until NATS answers or ctx
// ends.
func (d *Delivery) readCell(ctx context.Context) (cellView, error) {
	at := cellView{on: d.w.Log.Connection()}
	var entry jobs.Entry
	err := Persist(ctx, d.w.Clock, func(ctx context.Context) (err error) {
		entry, err = d.w.Log.Last(ctx, d.cell())
		return err
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return at, fmt.Errorf("read the cell of %s: %w", d, err)
	}
	at.state, at.sequence = d.classify(entry), entry.Sequence
	return at, nil
}

// classify recognises records of this delivery by incarnation and nonce, never by
// the name of the worker, and believes only what its key verifies: others can read
// both in its claim. An entry without a sequence means an empty cell.
func (d *Delivery) classify(e jobs.Entry) cellState {
	mine := func(incarnation, nonce string) bool { return incarnation == d.w.Incarnation && nonce == d.from.Nonce }
	claim, outcome, n := e.Record.Claim, e.Record.Outcome, d.job.Attempt
	p := d.position.Load()
	current := p.on == d.w.Log.Connection() // else its sequences mean nothing
	switch {
	case e.Sequence == p.expect && p.claim == 0 && current:
		return asExpected
	case len(d.job.Key) > 0 && e.Auth != jobs.Verified:
		return unexplained
	case p.claim != 0 && current && d.repeated(e, p.claim):
		return unexplained
	case claim != nil && claim.Attempt == n && mine(claim.Incarnation, claim.Nonce):
		return myClaim
	case outcome != nil && outcome.Attempt == n && outcome.By == "" && mine(outcome.Incarnation, outcome.Nonce):
		return myOutcome
	case outcome != nil && outcome.Attempt == n:
		return closed
	case claim != nil && claim.Attempt == n:
		return anothersClaim
	}
	return unexplained
}

// repeated reports whether a record of this attempt cannot count, since the delivery
// has claimed the attempt at a sequence: any other claim, or the outcome of any other
// delivery. It may be a copy of a record that the server has lost.
func (d *Delivery) repeated(e jobs.Entry, at uint64) bool {
	claim, outcome := e.Record.Claim, e.Record.Outcome
	return claim != nil && e.Sequence != at || outcome != nil && outcome.By == "" && outcome.Nonce != d.from.Nonce
}

// over reports whether the run has its end record.
func (d *Delivery) over(ctx context.Context) (ended bool, err error) {
	err = Persist(ctx, d.w.Clock, func(ctx context.Context) (err error) {
		ended, err = d.w.Log.Ended(ctx, d.job.Run)
		return err
	})
	return ended, err
}
