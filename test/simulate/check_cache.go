package simulate

import (
	"reflect"
	"slices"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// execution identifies an attempt of any run, with the module by name.
type execution struct {
	run     jobs.RunID
	module  string
	attempt jobs.Attempt
}

// product is a result of an execution. An attempt may be executed twice, and with
// other inputs after the server has lost records.
type product struct {
	print   string
	outputs jobs.Value
}

// produced notes the result of an execution.
func (c *checks) produced(w *world, j *jobs.Job, outputs jobs.Value) {
	m := w.runOf(j.Run).truth.known[j.Module]
	if m == nil || m.Cache == nil {
		return
	}
	if c.products == nil {
		c.products = map[execution][]product{}
	}
	x := execution{j.Run, j.Name, j.Attempt}
	c.products[x] = append(c.products[x], product{printOfJob(m, j), outputs})
}

// isProduct checks that an attempt has really produced a result with a fingerprint.
func (c *checks) isProduct(w *world, what string, x execution, p product) {
	for _, o := range c.products[x] {
		if o.print == p.print && reflect.DeepEqual(o.outputs, p.outputs) {
			return
		}
	}
	w.fail("%s of %s names attempt %d of %s in %s, which has not produced it", what, p.print, x.attempt, x.module, x.run)
}

// resultStored checks that a stored result is that of an attempt whose success
// stands in its log.
func (c *checks) resultStored(w *world, e *cachedResult) {
	r := w.runOf(e.run)
	x := execution{e.run, e.module, e.attempt}
	c.isProduct(w, "a stored result", x, product{e.print, e.outputs})
	if writes := r.truth.spec.Cache.Writes(); writes != e.namespace {
		w.fail("a result of %s, which writes to %s, is stored in %s", e.run, writes, e.namespace)
	}
	if !w.server.lost && !r.truth.succeededAs(x) {
		w.fail("a result of attempt %d of %s in %s is stored, and its log has no such success", e.attempt, e.module, e.run)
	}
}

func (t *truth) succeededAs(x execution) bool {
	for id, o := range t.outcomes {
		if m := t.known[id.Module]; m != nil && m.Name == x.module && id.Attempt == x.attempt {
			return o.Status == report.AttemptSucceeded
		}
	}
	return false
}

// hit checks a record of a cached result: the module has such a cache, its condition
// holds, and the result is one of its fingerprint from a namespace that it reads.
func (c *checks) hit(w *world, t *truth, id jobs.RunID, e *jobs.Entry) {
	o, m := e.Record.Outcome, t.modules[e.Cell]
	if o.Cached == nil {
		return
	}
	h, policy := o.Cached, &t.spec.Cache
	if m == nil || m.Cache == nil || policy.Off || policy.NoRead || policy.Refresh || !slices.Contains(policy.Reads(), h.Namespace) {
		w.fail("%s in %s takes a cached result of %s that it may not use", e.Cell, id, h.Namespace)
		return
	}
	c.isProduct(w, "a cached result", execution{h.Run, h.Module, h.Attempt}, product{h.Fingerprint, o.Outputs})
	if from := w.runOf(h.Run).truth.spec.Cache.Writes(); from != h.Namespace {
		w.fail("%s in %s takes a result of %s, which writes to %s, from %s", m.Name, id, h.Run, from, h.Namespace)
	}
	if w.server.lost {
		return // what it reads of its needs may have been lost since
	}
	if holds, err := t.condition(w, m); !holds {
		w.fail("%s in %s takes a cached result, but its condition (%s) gives %v, %v", m.Name, id, m.If, holds, err)
	}
	if print, err := t.print(w, m); err != nil || print != h.Fingerprint {
		w.fail("%s in %s has the fingerprint %s, %v, and takes a result of %s", m.Name, id, print, err, h.Fingerprint)
	}
	if !t.othersSuccess(w, h) {
		w.fail("%s in %s takes a result of attempt %d of %s in %s, whose log has no such success", m.Name, id, h.Attempt, h.Module, h.Run)
	}
}

func (t *truth) othersSuccess(w *world, h *jobs.Cached) bool {
	return w.runOf(h.Run).truth.succeededAs(execution{h.Run, h.Module, h.Attempt})
}

// print is the fingerprint of a module, computed a second time, from the log.
func (t *truth) print(w *world, m *pipeline.Module) (string, error) {
	var args []string
	if x, reads := t.readings[t.declared(m)]; reads && x.text {
		word, err := t.word(w, x)
		if err != nil {
			return "", err
		}
		args = []string{"echo", word}
	}
	return printOf(m, []string{m.Cache.Key[0][0].Literal}, args), nil
}

// lookedUp checks that a module is looked up only when its condition holds.
func (c *checks) lookedUp(w *world, r *run, a schedule.Lookup) {
	if w.server.lost || a.Adopt || a.ID.Attempt > 1 {
		return
	}
	if holds, err := r.truth.condition(w, a.Module); !holds {
		w.fail("%s in %s is looked up, but its condition (%s) gives %v, %v", a.Module.Name, r.id, a.Module.If, holds, err)
	}
}

// looked checks the answer to a lookup that began at a moment. It is a hit when the
// result was stored before. A module that waits holds no lock, and has not started.
func (c *checks) looked(w *world, l *loop, a schedule.Lookup, f *schedule.Found, since time.Duration) {
	t, run := &l.d.run.truth, l.d.run.id
	if f.Hit == nil && !a.Adopt && l.flights.Reads && !w.server.lost {
		for _, namespace := range t.spec.Cache.Reads() {
			if e, ok := w.server.results[namespace+"."+f.Fingerprint]; ok && e.at < since {
				w.fail("%s in %s misses the result %s, which %s had stored", a.Module.Name, run, f.Fingerprint, e.run)
			}
		}
	}
	if f.Busy == "" {
		return
	}
	if t.granted[a.ID] && !t.state.Closed(a.ID) && !w.server.lost {
		w.fail("%s in %s waits for a flight, and has its keys and limits", a.Module.Name, run)
	}
	for _, lock := range t.locks {
		for _, h := range w.server.locks[lockName(lock)].entry.Holders {
			if h.Run == run && h.Module == a.ID.Module && h.Attempt == a.ID.Attempt && h.Epoch == l.epoch {
				w.fail("%s in %s waits for a flight, and holds %s", a.Module.Name, run, lockName(lock))
			}
		}
	}
}

// flightOf is the flight that an execution has to hold. Empty = none.
func (c *checks) flightOf(w *world, x *task) string {
	r := w.runOf(x.Job().Run)
	m, p := r.truth.known[x.Job().Module], &r.truth.spec.Cache
	if m == nil || m.Cache == nil || p.Off || p.NoRead || p.NoWrite || p.Refresh || w.climate.denied || r.gone {
		return ""
	}
	if r.truth.state.Closed(jobs.AttemptID{Module: x.Job().Module, Attempt: x.Job().Attempt}) {
		return "" // free by the rule
	}
	return p.Writes() + "." + printOfJob(m, x.Job())
}

// alone checks that no two attempts of one fingerprint are executed at the same
// time. A closed attempt does not count.
func (c *checks) alone(w *world, x *task) {
	flight := c.flightOf(w, x)
	if flight == "" || w.server.lost {
		return
	}
	for _, r := range w.runs {
		for _, y := range r.truth.running {
			same := y.Job().Run == x.Job().Run && y.Job().Module == x.Job().Module && y.Job().Attempt == x.Job().Attempt
			if !same && c.flightOf(w, y) == flight {
				w.fail("%s starts while %s produces the same result", x, y)
			}
		}
	}
}

// flightWritten checks that an attempt keeps its flight while it is open and
// executed.
func (c *checks) flightWritten(w *world, l jobs.Lock, before, after []jobs.Holder) {
	if len(after) > l.Max {
		w.fail("%s has %d holders", lockName(l), len(after))
	}
	for _, h := range before {
		if w.server.lost || slices.ContainsFunc(after, h.Is) {
			continue
		}
		for _, y := range w.runOf(h.Run).truth.running {
			if y.Job().Module == h.Module && y.Job().Attempt == h.Attempt && c.flightOf(w, y) == l.Name {
				w.fail("%s is given back while %s runs", lockName(l), y)
			}
		}
	}
}
