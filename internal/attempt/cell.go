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
	nothingNew    sight = iota // nothing newer than the fence: nobody has claimed or closed it
	myClaim                    // by this delivery of this incarnation
	myOutcome                  //
	anothersClaim              // of this attempt: another delivery runs it
	newer                      // it is closed
)

// look reads the newest record of the cell, until NATS answers or ctx ends.
func (d *Delivery) look(ctx context.Context) (sight, uint64, error) {
	var entry jobs.Entry
	err := Persist(ctx, d.w.Clock, func(ctx context.Context) (err error) {
		entry, err = d.w.Log.Last(ctx, d.job.Run, d.job.Token)
		return err
	})
	if errors.Is(err, ErrNotFound) {
		return nothingNew, 0, nil
	}
	if err != nil {
		return nothingNew, 0, fmt.Errorf("read the cell of %s: %w", d, err)
	}
	if entry.Unread != nil {
		return nothingNew, 0, fmt.Errorf("read the cell of %s: %w", d, entry.Unread)
	}
	return d.judge(entry), entry.Sequence, nil
}

// judge knows its own records by incarnation and nonce, never by the name of
// the worker.
func (d *Delivery) judge(e jobs.Entry) sight {
	mine := func(incarnation, nonce string) bool { return incarnation == d.w.Incarnation && nonce == d.nonce }
	claim, outcome := e.Record.Claim, e.Record.Outcome
	switch {
	case e.Sequence <= d.job.Fence:
		return nothingNew
	case claim != nil && mine(claim.Incarnation, claim.Nonce):
		return myClaim
	case claim != nil && claim.Attempt == d.job.Attempt:
		return anothersClaim
	case outcome != nil && outcome.By == "" && mine(outcome.Incarnation, outcome.Nonce):
		return myOutcome
	}
	return newer
}

// over reports whether the run has its end record.
func (d *Delivery) over(ctx context.Context) (ended bool, err error) {
	err = Persist(ctx, d.w.Clock, func(ctx context.Context) (err error) {
		ended, err = d.w.Log.Ended(ctx, d.job.Run)
		return err
	})
	return ended, err
}
