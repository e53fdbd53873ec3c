package locks

import (
	"context"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// Results are the cached results that a run may use.
type Results interface {
	// Read returns how a stored result ends the module of a, or nil for a miss.
	Read(ctx context.Context, a schedule.Lookup, print string) *jobs.Outcome
	// Inherit stores the result of an attempt of another run that has succeeded and
	// whose orchestrator has not stored it. A failure only means that the work is
	// done again.
	Inherit(ctx context.Context, state *schedule.Run, id jobs.AttemptID)
}

// Flights looks cached results up for the attempts of a run, and takes the flights
// of those that are missing. Its methods may be called from several goroutines.
type Flights struct {
	Taker     *Taker // whose Ungranted is set
	Namespace string // in which the run stores results
	Reads     bool   // stored results may be used
	Takes     bool   // results are stored, so that flights are taken
	// Unusable reports whether an error means that the bucket cannot be used. The
	// module then runs without a flight. Nil = none does.
	Unusable func(error) bool
}

// LookUp answers a lookup of a fingerprint. held reports whether the attempt has
// the flight now; the caller gives it back when the attempt is closed. by is the
// attempt that produces the result, when the module has to wait for that.
func (f *Flights) LookUp(ctx context.Context, a schedule.Lookup, print string, results Results) (found schedule.Found, held bool, by *Refusal, err error) {
	found.Fingerprint = print
	reads := f.Reads && !a.Adopt
	if reads {
		if found.Hit = results.Read(ctx, a, print); found.Hit != nil {
			return found, false, nil, ctx.Err()
		}
	}
	if !f.Takes {
		return found, false, nil, ctx.Err()
	}
	held, by, err = f.take(ctx, a.ID, print, results)
	if err != nil {
		return found, false, nil, err
	}
	if by != nil && reads {
		found.Busy = by.Lock.Name
		return found, false, by, nil
	}
	// The last holder may have stored the result since the first read.
	if reads {
		if found.Hit = results.Read(ctx, a, print); found.Hit != nil && held {
			return found, false, nil, f.GiveBack(ctx, a.ID, print)
		}
	}
	return found, held, nil, ctx.Err()
}

// take takes the flight of a fingerprint. Before it evicts an attempt that has
// succeeded, it stores that attempt's result.
func (f *Flights) take(ctx context.Context, id jobs.AttemptID, print string, results Results) (bool, *Refusal, error) {
	h := jobs.Holder{Run: f.Taker.Run, Module: id.Module, Attempt: id.Attempt, Epoch: f.Taker.Epoch}
	evicting := func(h jobs.Holder) { f.inherit(ctx, h, results) }
	by, err := f.Taker.try(ctx, jobs.Flight(f.Namespace, print), h, f.Taker.acquire, evicting)
	if err != nil && f.unusable(err) {
		return false, nil, nil
	}
	return by == nil && err == nil, by, err
}

// inherit stores the result of an attempt whose orchestrator died between the
// record of its outcome and the entry. The attempt's flight tells its fingerprint
// only as long as the orchestrator decided that took the flight: after the server
// has lost records, the next one may have started the same attempt with other
// inputs.
func (f *Flights) inherit(ctx context.Context, h jobs.Holder, results Results) {
	state, err := f.Taker.Logs.Load(ctx, h.Run)
	if err != nil {
		return
	}
	id := jobs.AttemptID{Module: h.Module, Attempt: h.Attempt}
	o, epoch := state.OutcomeOf(id)
	if o == nil || o.Status != report.AttemptSucceeded || !o.Hermetic || epoch != h.Epoch {
		return
	}
	results.Inherit(ctx, state, id)
}

// GiveBack gives back the flight of an attempt. A bucket that cannot be used is no
// error: the flight is free once its attempt is closed.
func (f *Flights) GiveBack(ctx context.Context, id jobs.AttemptID, print string) error {
	err := f.Taker.GiveBack(ctx, id, []jobs.Lock{jobs.Flight(f.Namespace, print)})
	if f.unusable(err) {
		return nil
	}
	return err
}

func (f *Flights) unusable(err error) bool {
	return err != nil && f.Unusable != nil && f.Unusable(err)
}
