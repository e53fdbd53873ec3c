package attempt

import (
	"context"
	"errors"
	"fmt"

	"github.com/modpipe/modpipe/jobs"
)

// sight is what a delivery finds in its module's cell.
type sight int

const (
	nothingNew    sight = iota // what its next write expects
	myClaim                    // by this delivery of this incarnation
	myOutcome                  //
	anothersClaim              // of this attempt: another delivery runs it
	closed                     // it has an outcome
	unclear                    // anything else: it cannot be told from noise, and hides what stands below
)

// seen is a sight, and where.
type seen struct {
	what     sight
	sequence uint64 // of the newest record of the cell; 0 = there is none
	on       uint64 // connection on which it was read, or an earlier one
}

// look reads the newest record of the cell, until NATS answers or ctx ends.
func (d *Delivery) look(ctx context.Context) (seen, error) {
	at := seen{on: d.w.Log.Connection()}
	var entry jobs.Entry
	err := Persist(ctx, d.w.Clock, func(ctx context.Context) (err error) {
		entry, err = d.w.Log.Last(ctx, d.job.Run, d.job.Module)
		return err
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return at, fmt.Errorf("read the cell of %s: %w", d, err)
	}
	at.what, at.sequence = d.judge(entry), entry.Sequence
	return at, nil
}

// judge knows its own records by incarnation and nonce, never by the name of
// the worker. An entry without a sequence stands for an empty cell.
func (d *Delivery) judge(e jobs.Entry) sight {
	mine := func(incarnation, nonce string) bool { return incarnation == d.w.Incarnation && nonce == d.from.Nonce }
	claim, outcome, n := e.Record.Claim, e.Record.Outcome, d.job.Attempt
	p := d.place.Load()
	switch {
	case e.Sequence == p.expect && p.claim == 0 && p.on == d.w.Log.Connection():
		return nothingNew
	case claim != nil && claim.Attempt == n && mine(claim.Incarnation, claim.Nonce):
		return myClaim
	case outcome != nil && outcome.Attempt == n && outcome.By == "" && mine(outcome.Incarnation, outcome.Nonce):
		return myOutcome
	case outcome != nil && outcome.Attempt == n:
		return closed
	case claim != nil && claim.Attempt == n:
		return anothersClaim
	}
	return unclear
}

// over reports whether the run has its end record.
func (d *Delivery) over(ctx context.Context) (ended bool, err error) {
	err = Persist(ctx, d.w.Clock, func(ctx context.Context) (err error) {
		ended, err = d.w.Log.Ended(ctx, d.job.Run)
		return err
	})
	return ended, err
}
