package simulate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/modpipe/modpipe/jobs"
)

// locksOf returns the keys and limits of the cluster that an attempt needs.
func (t *truth) locksOf(moduleID jobs.ModuleID) []jobs.Lock {
	p := &t.known[moduleID].Policy
	return slices.DeleteFunc(slices.Clone(t.locks), func(l jobs.Lock) bool {
		if l.Limit {
			return !slices.Contains(p.Limits, l.Name)
		}
		return !slices.Contains(p.ClusterKeys, l.Name)
	})
}

// heldTogether checks that the live executions of all runs together do not exceed
// a lock, and that the lock's entry names each of them.
func (c *checks) heldTogether(w *world, x *task) {
	for _, l := range w.runOf(x.Job().Run).truth.locksOf(x.Job().Module) {
		n, words := 0, []string(nil)
		for _, r := range w.runs {
			for _, y := range r.truth.running {
				if c.holds(w, y) && slices.Contains(r.truth.locksOf(y.Job().Module), l) {
					n++
					words = append(words, fmt.Sprintf("%s on %s", y, y.k.self.Incarnation))
				}
			}
		}
		if n > l.Max {
			w.fail("%s of the cluster is held %d times, now that %s runs: %s", lockName(l), n, x, strings.Join(words, ", "))
		}
	}
	r, id := w.runOf(x.Job().Run), jobs.AttemptID{Module: x.Job().Module, Attempt: x.Job().Attempt}
	if c.holds(w, x) && r.truth.granted[id] && !r.gone { // else the server has lost the grant, and the worker is ending the execution
		c.entered(w, &r.truth, r.id, id)
	}
}

// entered checks that the entries of locks name each open attempt with a grant.
func (c *checks) entered(w *world, t *truth, run jobs.RunID, id jobs.AttemptID) {
	if t.state.Closed(id) {
		return
	}
	h := jobs.Holder{Run: run, Module: id.Module, Attempt: id.Attempt}
	for _, l := range t.locksOf(id.Module) {
		if !slices.ContainsFunc(w.server.locks[lockName(l)].entry.Holders, h.Is) {
			w.fail("attempt %d of %s in %s has a grant, but the entry of %s does not name it", id.Attempt, id.Module, run, lockName(l))
		}
	}
}

func (c *checks) granted(w *world, t *truth, run jobs.RunID, g *jobs.Grant) {
	for _, id := range g.Attempts {
		c.entered(w, t, run, id)
	}
}

// lockWritten checks that a lock does not have too many holders, and that a holder
// with a grant leaves only after its attempt was closed.
func (c *checks) lockWritten(w *world, l jobs.Lock, before, after []jobs.Holder) {
	if len(after) > l.Max {
		w.fail("%s of %d has %d holders", lockName(l), l.Max, len(after))
	}
	for _, h := range before {
		t := &w.runOf(h.Run).truth
		id := jobs.AttemptID{Module: h.Module, Attempt: h.Attempt}
		if !slices.ContainsFunc(after, h.Is) && t.granted[id] && !t.state.Closed(id) {
			w.fail("%s is given back for the open attempt %d of %s in %s", lockName(l), h.Attempt, h.Module, h.Run)
		}
	}
	for _, h := range after {
		if w.runOf(h.Run).truth.ended > 0 && !slices.Contains(before, h) {
			c.late = append(c.late, h)
		}
	}
}

// left checks that an ended run holds no locks. A write that arrived after the end
// may have entered one. The next run that wants that lock finds that it is free.
func (c *checks) left(w *world) {
	for _, r := range w.runs {
		if r.deserted || r.gone {
			continue // no orchestrator is left that could give locks back
		}
		for _, l := range r.truth.locks {
			for _, h := range w.server.locks[lockName(l)].entry.Holders {
				if h.Run == r.id && !slices.Contains(c.late, h) {
					w.fail("%s has ended and still holds %s for %s", r.id, lockName(l), h.Module)
				}
			}
		}
	}
}
