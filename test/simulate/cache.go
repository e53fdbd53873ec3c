package simulate

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/modpipe/modpipe/internal/locks"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// Cached results. Some worlds have modules with a cache, and runs that want the same
// results. The lookup, the flights and their eviction are the real code of package
// locks; the dispatcher is real as everywhere. The bucket is a model, and so is the
// fingerprint: a text that names what a module executes.
//
// All that concerns the cache is drawn from dice of its own. A world without cached
// modules therefore does not depend on this file.

// cachedResult is an entry of the bucket of cached results.
type cachedResult struct {
	print, namespace string
	run              jobs.RunID
	module           string
	attempt          jobs.Attempt
	outputs          jobs.Value
	at               time.Duration // when it was stored
}

// flightChange is a change of a flight that a loss of the bucket's end undoes.
type flightChange struct {
	name   string
	before lockRecord
	at     time.Duration
}

// castCache decides whether modules of the world have caches.
func (w *world) castCache() {
	w.dice = rand.New(rand.NewPCG(w.seed, 0x666c6967687473))
	c := &w.climate
	if c.orderly || w.dice.Float64() >= 0.3 {
		return
	}
	c.caching = 0.3 + 0.6*w.dice.Float64()
	c.runs = max(c.runs, 2+w.dice.IntN(2))
	if w.dice.Float64() < 0.4 { // runs have no orchestrator for a while, or for ever
		c.orchestrators = max(c.orchestrators, 2)
		c.apart, c.desert = true, c.desert || w.dice.Float64() < 0.5
	}
	c.denied = w.dice.Float64() < 0.1
	if w.dice.Float64() < 0.2 { // attempts that are started again with other inputs, after a loss
		c.needs, c.reads, c.losses, c.restarts, c.stores, c.denied = 0.5, 0.9, 1, 0.3, 0, false
	}
	for range w.dice.IntN(3) { // runs that come later find results
		w.after(time.Duration(w.dice.Int64N(int64(15*time.Second))), nil, "another run is submitted", func() {
			if !w.fair {
				w.submitLater()
			}
		})
	}
}

// caches gives some modules a cache. There are few fingerprints.
func (w *world) caches(m *pipeline.Module) {
	if w.climate.caching > 0 && w.dice.Float64() < w.climate.caching {
		m.Cache = &pipeline.Cache{Portable: true, Key: []pipeline.Text{{{Literal: utoa(w.dice.Uint64N(2))}}}}
	}
}

// cachePolicy draws what a run may do with the cache.
func (w *world) cachePolicy() (p jobs.CachePolicy) {
	if w.climate.caching == 0 {
		return p
	}
	if w.dice.Float64() < 0.25 {
		p.Namespace = "other"
		if w.dice.Float64() < 0.4 {
			p.From = []string{jobs.DefaultNamespace}
		}
	}
	switch w.dice.IntN(20) {
	case 0:
		p.Refresh = true
	case 1:
		p.NoRead = true
	case 2:
		p.NoWrite = true
	case 3:
		p.Off = true
	}
	return p
}

// hermetic draws whether an execution has found only what its module declares.
func (w *world) hermetic() bool { return w.climate.caching > 0 && w.dice.Float64() < 0.9 }

// printOf is the fingerprint of a module that executes args.
func printOf(m *pipeline.Module, key, args []string) string {
	function := ""
	if m.Func != nil {
		function = m.Func.Name
	}
	return fmt.Sprint(key, args, function, m.Matrix, m.Requires.OS)
}

// printOfJob is the fingerprint of an attempt, from its job.
func printOfJob(m *pipeline.Module, j *jobs.Job) string {
	if m == nil || m.Cache == nil {
		return ""
	}
	return printOf(m, []string{m.Cache.Key[0][0].Literal}, argsOf(j))
}

func argsOf(j *jobs.Job) []string {
	if j.Command == nil {
		return nil
	}
	return j.Command.Args
}

// attemptsFlight is a lookup's result about an attempt that runs.
type attemptsFlight struct {
	print string
	held  bool
}

// newFlights returns the real code that looks results up.
func (l *loop) newFlights() *locks.Flights {
	policy := l.state.Spec().Cache
	taker := l.newTaker()
	taker.Ungranted = true
	return &locks.Flights{
		Taker: taker, Namespace: policy.Writes(), Reads: !policy.NoRead && !policy.Refresh, Takes: !policy.NoWrite,
	}
}

// lookUp looks the result of an attempt up, and on a miss takes its flight.
func (l *loop) lookUp(a schedule.Lookup) {
	w, since := l.d.o.w, l.d.o.w.now
	w.checks.lookedUp(w, l.d.run, a)
	answer := func(f schedule.Found) {
		w.after(0, l.d.o.party, "receives the result of a lookup", l.d.during(l.answered(func() { l.dispatcher.Looked(a, f) })))
	}
	if w.climate.denied {
		answer(schedule.Found{})
		return
	}
	l.d.task(func(s *scope) {
		print := printOf(a.Module, a.Key, argsOf(a.Job))
		found, held, by, err := l.flights.LookUp(s, a, print, results{l, print})
		if err != nil {
			return // the term is over
		}
		if by != nil {
			w.note(l.d.o.name, "finds the flight taken for", l.d.run.id, a.ID.Module, "by", by.By)
		}
		if found.Hit == nil && found.Busy == "" {
			l.flying[a.ID] = attemptsFlight{print, held}
		}
		w.checks.looked(w, l, a, &found, since)
		answer(found)
	})
}

// conclude stores the result of a closed attempt, and then gives its flight back.
func (l *loop) conclude(a schedule.Conclude) {
	w, is := l.d.o.w, l.flying[a.ID]
	delete(l.flying, a.ID)
	l.d.task(func(s *scope) {
		var note *jobs.Note
		policy := &l.state.Spec().Cache
		if o := a.Outcome; is.print != "" && o != nil && o.Status == report.AttemptSucceeded && o.Hermetic && !policy.NoWrite {
			if l.storeResult(s, is.print, l.d.run.id, a.Module.Name, o) != nil {
				return // the term is over
			}
			if w.dice.Float64() < 0.1 {
				note = &jobs.Note{Module: a.ID.Module, Warning: "its result is not reproducible"}
			}
		}
		if is.held && l.flights.GiveBack(s, a.ID, is.print) != nil {
			return
		}
		w.after(0, l.d.o.party, "has concluded an attempt", l.d.during(l.answered(func() { l.dispatcher.Concluded(note) })))
	})
}

// storeResult stores a result under its fingerprint, in the namespace of this run.
func (l *loop) storeResult(s *scope, print string, run jobs.RunID, module string, o *jobs.Outcome) error {
	p := l.d.o.party
	e := cachedResult{print: print, namespace: l.flights.Namespace, run: run, module: module, attempt: o.Attempt, outputs: o.Outputs}
	return p.persist(s, "store a result", func() func() {
		p.w.server.storeResult(e)
		return func() {}
	})
}

func (s *server) storeResult(e cachedResult) {
	e.at = s.w.now
	s.results[e.namespace+"."+e.print] = e
	s.w.note("nats", "stores the result", e.print, "in", e.namespace, "of", e.run, e.module, e.attempt)
	s.w.checks.resultStored(s.w, &e)
}

// loseResults loses what the bucket of cached results has stored after a moment.
// Flights are in it, too: those that were given back since are there again.
func (s *server) loseResults(from time.Duration) {
	for _, key := range slices.Sorted(maps.Keys(s.results)) {
		if s.results[key].at > from {
			s.w.note("nats", "has lost the result", key)
			delete(s.results, key)
		}
	}
	for i := len(s.flights) - 1; i >= 0 && s.flights[i].at > from; i-- {
		s.revision++
		s.locks[s.flights[i].name] = lockRecord{s.flights[i].before.entry, s.revision}
	}
	s.flights = nil
}

// flightWritten notes a change of a flight. It notifies all orchestrators of a
// flight that was given back.
func (s *server) flightWritten(l jobs.Lock, before lockRecord, after []jobs.Holder) {
	s.flights = append(s.flights, flightChange{lockName(l), before, s.w.now})
	s.w.checks.flightWritten(s.w, l, before.entry.Holders, after)
	if len(after) > 0 {
		return
	}
	for _, o := range s.w.orchestrators {
		for _, r := range s.w.runs {
			if d := o.deciders[r.id]; d != nil && d.loop != nil {
				d.loop.bells.push("receives the end of a flight", d.loop.flightFree(l.Name))
			}
		}
	}
}

func (l *loop) flightFree(name string) func() {
	return func() {
		if l.ours {
			l.dispatcher.FlightFree(name)
		}
	}
}

// results are the cached results for a lookup of a fingerprint.
type results struct {
	l     *loop
	print string
}

// Read reads the entry of the fingerprint in each namespace that the run reads.
func (r results) Read(ctx context.Context, _ schedule.Lookup, print string) *jobs.Outcome {
	p := r.l.d.o.party
	policy := r.l.state.Spec().Cache
	for _, namespace := range policy.Reads() {
		var e *cachedResult
		if p.persist(ctx, "read a result", func() func() {
			is, ok := p.w.server.results[namespace+"."+print]
			return func() {
				if ok {
					e = &is
				}
			}
		}) != nil {
			return nil
		}
		if e != nil {
			return &jobs.Outcome{Status: report.AttemptSucceeded, By: "orchestrator", Outputs: e.outputs, Cached: &jobs.Cached{
				Fingerprint: e.print, Namespace: namespace, Run: e.run, Module: e.module, Attempt: e.attempt,
			}}
		}
	}
	return nil
}

// Inherit stores the result of another run's attempt.
func (r results) Inherit(ctx context.Context, state *schedule.Run, id jobs.AttemptID) {
	w := r.l.d.o.w
	o, _ := state.OutcomeOf(id)
	w.note(r.l.d.o.name, "inherits the result of", state.Spec().Run, id.Module, id.Attempt)
	_ = r.l.storeResult(within(ctx), r.print, state.Spec().Run, state.ModuleOf(id.Module).Name, o) //nolint:contextcheck // it waits as its party does, and fails only when the term is over
}
