package locks

import (
	"context"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/schedule"
)

// gone returns one of the holders that does not count any more, or nil.
func (t *Taker) gone(ctx context.Context, holders []jobs.Holder) *jobs.Holder {
	deciders := map[jobs.RunID]decider{t.Run: {t.Epoch, true}}
	for _, h := range holders {
		d, known := deciders[h.Run]
		if !known {
			d = t.decider(ctx, h.Run)
			deciders[h.Run] = d
		}
		if d.led && h.Epoch >= d.epoch {
			continue
		}
		over, err := t.over(ctx, h, d)
		if err != nil && ctx.Err() == nil {
			t.Logger.Warn("cannot find out whether another run still holds a lock that this one waits for", "run", h.Run, "module", h.Module, "error", err)
		}
		if over {
			return &h
		}
	}
	return nil
}

// decider is the orchestrator that decides for a run, as far as is known.
type decider struct {
	epoch uint64
	led   bool // an orchestrator holds the run's lease
}

func (t *Taker) decider(ctx context.Context, run jobs.RunID) decider {
	epoch, led := t.Leases.Led(ctx, run)
	t.mu.Lock()
	defer t.mu.Unlock()
	if led {
		delete(t.absent, run)
		return decider{epoch, true}
	}
	if t.absent == nil {
		t.absent = map[jobs.RunID]time.Time{}
	}
	if t.absent[run].IsZero() {
		t.absent[run] = t.Clock.Now()
	}
	return decider{}
}

// orphaned reports whether no orchestrator has held the run's lease for as long
// as a lease lives, by our own clock. Leases vanish for a moment when the server
// restarts or its clock jumps.
func (t *Taker) orphaned(run jobs.RunID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	since := t.absent[run]
	return !since.IsZero() && t.Clock.Now().Sub(since) >= t.Leases.TTL()
}

// over reports whether a holder does not count any more: its attempt is closed,
// or its entry will never be granted. When an orchestrator decides for the
// holder's run, only the entry of an older orchestrator is in question: it may
// have arrived so late that the newer one does not know of it. When none
// decides, over closes the attempt if that is allowed.
func (t *Taker) over(ctx context.Context, h jobs.Holder, d decider) (bool, error) {
	closed, err := t.closed(ctx, h)
	switch {
	case closed || err != nil:
		return closed, err
	case d.led:
		return t.void(ctx, h)
	case !t.orphaned(h.Run):
		return false, nil
	}
	return t.reclaim(ctx, h)
}

// void reports whether an older orchestrator entered an attempt and was replaced
// before it could grant it. The newer one may have to start another module
// first, which waits for this very lock.
func (t *Taker) void(ctx context.Context, h jobs.Holder) (bool, error) {
	if t.Ungranted {
		return t.forgotten(ctx, h)
	}
	t.mu.Lock()
	granted := t.granted[h]
	t.mu.Unlock()
	if granted { // and is until it is closed
		return false, nil
	}
	state, err := t.Logs.Load(ctx, h.Run)
	if err != nil {
		return false, err
	}
	id := jobs.AttemptID{Module: h.Module, Attempt: h.Attempt}
	if state.Granted(id) {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.granted == nil {
			t.granted = map[jobs.Holder]bool{}
		}
		t.granted[h] = true
		return false, nil
	}
	_, epoch := state.Control()
	return state.Closed(id) || epoch > h.Epoch, nil
}

// forgotten reports whether an attempt that needs no grant is closed behind a record
// that is noise, or was taken over after the server had lost it: then it is not open
// in the log, and the newer orchestrator takes the lock again when it needs it.
func (t *Taker) forgotten(ctx context.Context, h jobs.Holder) (bool, error) {
	state, err := t.Logs.Load(ctx, h.Run)
	if err != nil {
		return false, err
	}
	id := jobs.AttemptID{Module: h.Module, Attempt: h.Attempt}
	_, epoch := state.Control()
	return state.Closed(id) || !state.Open(id) && epoch > h.Epoch, nil
}

// closed reports whether the log of a holder's run shows its attempt as closed,
// or the run does not exist any more. The newest record of the cell only decides
// whether the whole log is read, because it may be noise.
func (t *Taker) closed(ctx context.Context, h jobs.Holder) (bool, error) {
	rec, err := t.Logs.Last(ctx, h.Run, h.Module)
	if err != nil {
		return false, err
	}
	if seemsClosed(rec, h.Attempt) {
		state, err := t.Logs.Load(ctx, h.Run)
		if err != nil { // perhaps it is signed with a secret that we do not have
			if over, _ := t.Logs.Over(ctx, h.Run); over {
				return true, nil
			}
			return false, err
		}
		if state.Closed(jobs.AttemptID{Module: h.Module, Attempt: h.Attempt}) {
			return true, nil
		}
	}
	return t.Logs.Over(ctx, h.Run)
}

func seemsClosed(rec jobs.Record, n jobs.Attempt) bool {
	return rec.Outcome != nil && (rec.Outcome.Attempt == 0 || rec.Outcome.Attempt >= n) || rec.Claim != nil && rec.Claim.Attempt > n
}

// reclaim closes an attempt of an orphaned run, as an orchestrator that took the
// run over would: it takes the run's lease, records the takeover and writes an outcome
// that expects what the fold has seen. It reports whether the attempt is
// closed.
func (t *Taker) reclaim(ctx context.Context, h jobs.Holder) (bool, error) {
	id := jobs.AttemptID{Module: h.Module, Attempt: h.Attempt}
	state, err := t.Logs.Load(ctx, h.Run)
	if err != nil {
		return false, err
	}
	if _, may := t.Ask(ctx, state, id); !may {
		return state.Closed(id), nil // read first, so that nothing is disturbed in vain
	}
	release, ok, err := t.Leases.Take(ctx, h.Run)
	if !ok || err != nil {
		return false, err // without an error: another orchestrator goes on with the run
	}
	defer release()
	leading, cancel := t.Clock.Within(ctx, t.Leases.TTL()/2) // the lease is not renewed
	defer cancel()
	if state, err = t.Logs.TakeOver(leading, h.Run); err != nil {
		return false, err
	}
	c, may := t.Ask(leading, state, id)
	if !may {
		return state.Closed(id), nil
	}
	return t.close(leading, h.Run, c)
}

func (t *Taker) close(ctx context.Context, run jobs.RunID, c schedule.Close) (bool, error) {
	if c.Cell == "" {
		return true, nil // the log does not have the attempt, and no orchestrator can grant it any more
	}
	closed, err := t.Logs.Close(ctx, run, c) // false: its worker wrote first
	if closed {
		t.Logger.Warn("closed an attempt of a run without an orchestrator: it held a lock that this run waits for",
			"run", run, "module", c.Cell, "attempt", c.Outcome.Attempt, "as", c.Outcome.Status)
	}
	return closed, err
}
