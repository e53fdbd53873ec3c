package locks

import (
	"context"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/schedule"
)

// gone finds one of the holders that counts no more, or need not.
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
			t.Logger.Warn("whether another run still holds what this one waits for is not known", "run", h.Run, "module", h.Module, "error", err)
		}
		if over {
			return &h
		}
	}
	return nil
}

// decider is whoever decides for a run, as far as is known.
type decider struct {
	epoch uint64
	led   bool // there is one
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

// orphaned reports whether nobody has been seen to decide for a run for as
// long as a lease lives, on our own clock: leases are gone for a moment when
// the server or its clock was.
func (t *Taker) orphaned(run jobs.RunID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	since := t.absent[run]
	return !since.IsZero() && t.Clock.Now().Sub(since) >= t.Leases.TTL()
}

// over reports whether a holder counts no more: its attempt is closed, or what
// was entered for it came to nothing. Of a run that nobody decides for it closes
// the attempt, when that may be done. Of one that somebody decides for, it is
// asked about what an elder orchestrator has entered, perhaps so late that the
// newer one does not know of it.
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

// void reports whether an elder orchestrator has entered an attempt, and was
// replaced before it could grant it anything. The newer one may have a module
// to start first that waits for this very lock.
func (t *Taker) void(ctx context.Context, h jobs.Holder) (bool, error) {
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

// closed reports whether the log of a holder's run says that its attempt is
// closed, or there is no such run any more. The newest record of the cell only
// tells whether a look at the whole log is worth while: it may be noise.
func (t *Taker) closed(ctx context.Context, h jobs.Holder) (bool, error) {
	rec, err := t.Logs.Last(ctx, h.Run, h.Module)
	if err != nil {
		return false, err
	}
	if seemsClosed(rec, h.Attempt) {
		state, err := t.Logs.Load(ctx, h.Run)
		if err != nil {
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

// reclaim closes an attempt of an orphaned run, as whoever took that run over
// would: it takes the run's lease, records the takeover and writes an outcome
// that expects what the fold has seen. It reports whether the attempt is
// closed.
func (t *Taker) reclaim(ctx context.Context, h jobs.Holder) (bool, error) {
	id := jobs.AttemptID{Module: h.Module, Attempt: h.Attempt}
	state, err := t.Logs.Load(ctx, h.Run)
	if err != nil {
		return false, err
	}
	if _, may := t.Ask(ctx, state, id); !may {
		return state.Closed(id), nil // looked at before anything is disturbed
	}
	release, ok, err := t.Leases.Take(ctx, h.Run)
	if !ok || err != nil {
		return false, err // else somebody goes on with it
	}
	defer release()
	leading, cancel := t.Clock.Within(ctx, t.Leases.TTL()/2) // nobody renews it
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
		return true, nil // the log does not have the attempt, and nobody can grant it any more
	}
	closed, err := t.Logs.Close(ctx, run, c) // else its worker was first
	if closed {
		t.Logger.Warn("closed an attempt of a run that nobody decides for: it held what this run waits for",
			"run", run, "module", c.Cell, "attempt", c.Outcome.Attempt, "as", c.Outcome.Status)
	}
	return closed, err
}
