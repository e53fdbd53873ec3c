package schedule

import (
	"maps"
	"slices"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// Cached results. A module with a cache is looked up when it is ready and its
// condition is true, before it waits for keys, limits or a slot. A hit is recorded
// in the module's cell and ends the module. On a miss the attempt takes the flight
// of its fingerprint, so that of all runs which want the result one produces it;
// the others wait, holding nothing, and look again when the flight is free. An
// attempt keeps its flight until it is closed in the log, and its result, when it
// has succeeded, is stored before the flight is given back.
//
// An orchestrator that takes a run over does not know the fingerprints of attempts
// that are under way. It asks for them again (Lookup.Adopt), so that it can store
// their results.

// Lookup asks for the cached result of a module's attempt, and on a miss for the
// flight of its fingerprint. Answer with Dispatcher.Looked.
type Lookup struct {
	Node   int
	ID     jobs.AttemptID
	Module *pipeline.Module
	Job    *jobs.Job // as it would be published
	Key    []string  // of the cache, with every expression put in
	Adopt  bool      // the attempt is under way: a hit is of no use, and it does not wait
}

// Found answers Lookup.
type Found struct {
	Fingerprint string        // "" = no fingerprint: the module runs without the cache
	Hit         *jobs.Outcome // how the module ends; nil = a miss
	Busy        string        // name of the flight that another attempt has; "" = this one has it, or needs none
}

// Conclude reports that an attempt was closed whose fingerprint is known. The caller
// stores its result if Outcome is a success that may be stored, and then gives the
// flight back. Answer with Dispatcher.Concluded.
type Conclude struct {
	Node    int
	ID      jobs.AttemptID
	Module  *pipeline.Module
	Outcome *jobs.Outcome // of the attempt; nil = it was closed without one
	Closed  time.Time     // when, by the log
}

func (Lookup) action()   {}
func (Conclude) action() {}

// caching is what a dispatcher remembers of lookups.
type caching struct {
	asked   int              // answers to Lookup and Conclude that have not come
	waiting map[string][]int // nodes that wait for a flight, by its name
	retryAt time.Time        // when they look again; valid while there are some
	keeping int              // answers to KeepDirs that have not come
	finding []FindDirs       // wait until they have
	noting  bool             // the write to the control subject that is under way is a note
}

type cacheState uint8

const (
	cacheUnknown cacheState = iota
	cacheAsked              // Lookup is under way
	cacheWaits              // another attempt produces the result
	cacheDone               // it is known whether the module runs
)

// flightRetry is how long a module waits for a flight at most before it looks
// again: the end of a holder whose orchestrator is gone is not announced. Each
// module that waits adds flightRetryEach.
const (
	flightRetry     = time.Second
	flightRetryEach = time.Millisecond
)

// caches reports whether n is looked up or its result stored.
func (r *Run) caches(n *node) bool {
	p := &r.spec.Cache
	return n.module.Cache != nil && !p.Off && (!p.NoRead || !p.NoWrite)
}

// unlooked reports whether it is not known yet whether n has to run.
func (d *Dispatcher) unlooked(n *node, m *memo) bool {
	return d.run.caches(n) && m.cache != cacheDone && n.claim == nil && !n.granted
}

// lookUp asks for the fingerprint of n and its cached result, once an attempt.
func (d *Dispatcher) lookUp(n *node, m *memo) {
	if !d.run.caches(n) || m.cache != cacheUnknown {
		return
	}
	m.cache = cacheAsked
	d.evaluate(n, forLookup)
}

// askCache asks for the cached result of n, or closes it when its job cannot be
// built.
func (d *Dispatcher) askCache(n *node, s pipeline.Scope, err error) {
	var job *jobs.Job
	var key []string
	if err == nil {
		job, err = d.job(n, s)
	}
	if err == nil {
		key, err = d.run.pipeline.ResolveKey(n.module, s)
	}
	under := n.claim != nil || n.granted
	if err != nil {
		d.memo(n.index).cache = cacheDone
		if !under {
			d.closeWithout(n, jobs.Outcome{Status: report.AttemptFailed, Error: err.Error()})
		}
		return
	}
	d.cache.asked++
	d.do(Lookup{Node: n.index, ID: d.run.key(n), Module: n.module, Job: job, Key: key, Adopt: under})
}

// Looked answers Lookup.
func (d *Dispatcher) Looked(l Lookup, f Found) {
	d.cache.asked--
	n, m := d.run.nodes[l.Node], d.memo(l.Node)
	if n.status.Terminal() || n.attempt != l.ID.Attempt || m.attempt != l.ID.Attempt || m.cache != cacheAsked {
		if f.Fingerprint != "" { // it may hold the flight
			d.conclude(n, l.ID)
		}
		return
	}
	m.cache, m.print = cacheDone, f.Fingerprint
	switch {
	case n.claim != nil || n.granted:
	case f.Hit != nil && m.closing: // it is looked up again unless this ends it
		m.hit = true
	case f.Hit != nil:
		m.hit = true
		d.close(n, *f.Hit, d.run.epoch > 1)
		return
	case f.Busy != "":
		d.awaitFlight(n, m, f.Busy)
		return
	}
	d.run.changed = append(d.run.changed, n.index)
}

// awaitFlight has n wait until a flight is free.
func (d *Dispatcher) awaitFlight(n *node, m *memo, name string) {
	c := &d.cache
	if len(c.waiting) == 0 {
		c.waiting, c.retryAt = map[string][]int{}, time.Time{}
	}
	m.cache, m.print = cacheWaits, ""
	c.waiting[name] = append(c.waiting[name], n.index)
}

// FlightFree says that a flight was given back, or with "" that any may have been.
func (d *Dispatcher) FlightFree(name string) {
	if name == "" {
		d.cache.retryAt = atOnce
		return
	}
	d.lookAgain(d.cache.waiting[name])
	delete(d.cache.waiting, name)
}

// lookAgain has nodes that wait for a flight looked up again.
func (d *Dispatcher) lookAgain(nodes []int) {
	for _, i := range nodes {
		if m := d.memo(i); m.cache == cacheWaits {
			m.cache = cacheUnknown
			d.run.changed = append(d.run.changed, i)
		}
	}
}

// retryFlights has all that wait for a flight look again, when it is time.
func (d *Dispatcher) retryFlights(now time.Time) {
	c := &d.cache
	if len(c.waiting) == 0 {
		return
	}
	if c.retryAt.IsZero() {
		count := 0
		for _, nodes := range c.waiting {
			count += len(nodes)
		}
		c.retryAt = now.Add(max(flightRetry, time.Duration(count)*flightRetryEach))
	}
	if now.Before(c.retryAt) {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(c.waiting)) {
		d.lookAgain(c.waiting[name])
	}
	c.waiting, c.retryAt = nil, time.Time{}
}

// leaveCache reports the end of an attempt whose fingerprint is known.
func (d *Dispatcher) leaveCache(n *node, m *memo) {
	if m.cache == cacheDone && m.print != "" && n.cached == nil {
		d.conclude(n, jobs.AttemptID{Module: jobs.ModuleID(n.module.Token), Attempt: m.attempt})
	}
}

func (d *Dispatcher) conclude(n *node, id jobs.AttemptID) {
	c := Conclude{Node: n.index, ID: id, Module: n.module, Closed: d.run.now}
	if n.last != nil && n.last.Attempt == id.Attempt {
		c.Outcome = n.last
	}
	d.cache.asked++
	d.do(c)
}

// Concluded answers Conclude. A note, unless it is nil, goes into the log.
func (d *Dispatcher) Concluded(note *jobs.Note) {
	d.cache.asked--
	if note != nil {
		d.control = append(d.control, jobs.Record{Note: note})
	}
}

// OutcomeOf is the outcome of the attempt of a module with a cache, if it is the
// newest one of the module that was closed, and the epoch of the orchestrator that
// decided when it was recorded. Nil = that attempt is not the newest one.
func (r *Run) OutcomeOf(id jobs.AttemptID) (*jobs.Outcome, uint64) {
	i, ok := r.byToken[id.Module]
	if !ok || r.nodes[i].last == nil || r.nodes[i].last.Attempt != id.Attempt {
		return nil, 0
	}
	return r.nodes[i].last, r.nodes[i].lastEpoch
}

// noted reports whether no note waits to be written.
func (d *Dispatcher) noted() bool {
	for _, rec := range d.control {
		if rec.Note != nil {
			return false
		}
	}
	return !d.writing || !d.cache.noting
}

// applyNote takes what was found out about a module's result.
func (r *Run) applyNote(note *jobs.Note) {
	i, ok := r.byToken[note.Module]
	if !ok {
		return // a note decides nothing
	}
	n := r.nodes[i]
	n.flaky = n.flaky || note.Flaky
	if note.Warning != "" {
		n.warnings = append(n.warnings, note.Warning)
	}
}
