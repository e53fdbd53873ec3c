package worker

import (
	"context"
	"errors"
	"fmt"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
)

// sight is what an attempt finds in its module's cell.
type sight int

const (
	nothingNew    sight = iota // nothing newer than the fence: nobody has claimed or closed it
	myClaim                    // by this delivery of this incarnation
	myOutcome                  //
	anothersClaim              // of this attempt: another delivery runs it
	newer                      // it is closed
)

// look reads the newest record of the cell, until NATS answers or ctx ends.
func (a *attempt) look(ctx context.Context) (sight, uint64, error) {
	var entry jobs.Entry
	err := persist(ctx, func(ctx context.Context) (err error) {
		entry, err = a.s.conn.Last(ctx, a.job.Run, a.job.Token)
		return err
	})
	if errors.Is(err, broker.ErrNotFound) {
		return nothingNew, 0, nil
	}
	if err != nil {
		return nothingNew, 0, fmt.Errorf("read the cell of %s: %w", a, err)
	}
	return a.judge(entry), entry.Sequence, nil
}

// judge knows its own records by incarnation and nonce, never by the name of
// the worker.
func (a *attempt) judge(e jobs.Entry) sight {
	mine := func(incarnation, nonce string) bool { return incarnation == a.s.incarnation && nonce == a.nonce }
	claim, outcome := e.Record.Claim, e.Record.Outcome
	switch {
	case e.Sequence <= a.job.Fence:
		return nothingNew
	case claim != nil && mine(claim.Incarnation, claim.Nonce):
		return myClaim
	case claim != nil && claim.Attempt == a.job.Attempt:
		return anothersClaim
	case outcome != nil && outcome.By == "" && mine(outcome.Incarnation, outcome.Nonce):
		return myOutcome
	}
	return newer
}

// over reports whether the run has its end record.
func (a *attempt) over(ctx context.Context) (ended bool, err error) {
	err = persist(ctx, func(ctx context.Context) (err error) {
		ended, err = a.s.conn.Ended(ctx, a.job.Run)
		return err
	})
	return ended, err
}
