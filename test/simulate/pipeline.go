package simulate

import (
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

// populate creates the parties, the runs and the faults of a world.
func (w *world) populate() {
	w.climate = w.drawClimate()
	w.castCache()
	w.castKeys()
	w.net = w.climate.net
	for i := range w.climate.runs {
		w.submit(jobs.RunID("r" + utoa(uint64(i+1))))
	}
	for i := range w.climate.orchestrators {
		w.orchestrators = append(w.orchestrators, &orchestrator{party: newParty(w, "o"+utoa(uint64(i+1)))})
	}
	w.handOutKeys()
	w.share()
	for _, o := range w.orchestrators {
		o.start()
	}
	for i := range w.climate.workers {
		k := &worker{party: newParty(w, "w"+utoa(uint64(i+1))), slots: 1 + w.rand.IntN(w.climate.slots), os: "linux"}
		if w.chance(w.climate.mixed) {
			k.os = "darwin"
		}
		w.workers = append(w.workers, k)
		k.start()
	}
	w.trouble()
}

// share sets which orchestrator serves which runs. Either each serves all of them,
// or each serves some. Then a run may have no orchestrator for a while.
func (w *world) share() {
	if w.climate.desert {
		w.desert()
	}
	for _, r := range w.runs {
		if r.deserted {
			continue
		}
		first := w.rand.IntN(w.climate.orchestrators)
		for i, o := range w.orchestrators[:w.climate.orchestrators] {
			if !w.climate.apart || i == first || w.chance(0.2) {
				o.serves = append(o.serves, r)
			}
		}
	}
}

// desert gives the last run an orchestrator that serves no other run and dies for
// ever. Other runs must then get the locks that this run holds.
func (w *world) desert() {
	r := w.runs[len(w.runs)-1]
	o := &orchestrator{party: newParty(w, "alone"), serves: []*run{r}}
	if w.signs {
		o.secrets = keyring{"A"}
	}
	r.deserted = true
	w.orchestrators = append(w.orchestrators, o)
	w.after(w.between(300*time.Millisecond, 8*time.Second), nil, "a run is deserted", o.leave)
}

// submit writes the specification of a run.
func (w *world) submit(id jobs.RunID) *run {
	w.server.logs[id] = newLog(w, id)
	r := &run{id: id, boot: w.server.boot, readings: map[string]reading{}}
	w.runs = append(w.runs, r)
	r.truth.begin()
	r.truth.readings = r.readings
	w.server.append(id, "", 0, "", jobs.Record{Spec: &jobs.Spec{Run: id, Pipeline: w.pipeline(r), Cache: w.cachePolicy()}})
	r.truth.locks = r.truth.state.Locks()
	w.watch(r)
	return r
}

// pipeline draws a graph with every policy that the core handles.
func (w *world) pipeline(r *run) *pipeline.Pipeline {
	p := &pipeline.Pipeline{Name: "p", Families: map[string][]int{}, FailSlow: w.chance(0.5), Limits: map[string]int{"l": 1 + w.rand.IntN(2)}}
	if w.climate.shared {
		p.Limits["shared"], p.ClusterLimits = places, []string{"shared"}
	}
	if w.chance(0.15) {
		p.Deadline = w.between(2*time.Second, 30*time.Second)
	}
	alone := w.chance(0.15)
	for i := range 1 + w.rand.IntN(w.climate.modules) {
		m := w.module(i, alone)
		w.caches(m)
		w.lists(m)
		w.reads(r, p, m)
		w.expands(p, m)
		p.Modules = append(p.Modules, m)
	}
	return p
}

// wrong is a condition that cannot be evaluated.
const wrong = "fromJSON('{')"

func (w *world) module(i int, alone bool) *pipeline.Module {
	name := "m" + utoa(uint64(i))
	m := &pipeline.Module{Name: name, Token: name, Slots: 1, Command: &pipeline.Command{Run: "true", Shell: "sh"}}
	for k := range i {
		if w.chance(w.climate.needs) {
			m.Needs = append(m.Needs, pipeline.Need{Module: "m" + utoa(uint64(k)), Optional: w.chance(w.climate.optional)})
		}
	}
	if w.chance(w.climate.foreign) {
		m.Requires.OS = "darwin"
	}
	m.Unselected = w.chance(0.05)
	if w.chance(w.climate.conditions) {
		m.If = []string{"true", "true", "false", wrong}[w.rand.IntN(4)]
	}
	p := &m.Policy
	p.AlwaysRun, p.IgnoreFailure = w.chance(0.2), w.chance(0.15)
	p.Timeout, p.Grace, p.QueueTimeout = w.between(time.Second, 8*time.Second), w.between(50*time.Millisecond, 2*time.Second), w.between(2*time.Second, 20*time.Second)
	p.MaxLosses = 1 + w.rand.IntN(3)
	p.Retry = pipeline.Retry{Attempts: 1 + w.rand.IntN(3), Delay: w.between(w.climate.delay, 3*time.Second), MaxDelay: 5 * time.Second}
	p.Priority = pipeline.Priority(w.rand.IntN(3) - 1)
	switch {
	case w.chance(w.climate.keys):
		p.Keys = [][]string{{"a"}, {"b"}, {"a", "b"}}[w.rand.IntN(3)]
	case w.chance(0.2):
		p.Limits = []string{"l"}
	}
	w.shareLocks(p)
	p.Exclusive = alone && w.chance(0.4)
	return m
}

// places is the limit that all runs share.
const places = 2

// shareLocks gives a module keys and limits of the cluster.
func (w *world) shareLocks(p *pipeline.Policy) {
	if !w.climate.shared || !w.chance(0.5) {
		return
	}
	switch w.rand.IntN(4) {
	case 0:
		p.Limits = append(p.Limits, "shared")
		return
	case 1:
		p.ClusterKeys = []string{"x", "y"}
	case 2:
		p.ClusterKeys = []string{"y"}
		if w.chance(0.5) {
			p.Limits = append(p.Limits, "shared")
		}
	default:
		p.ClusterKeys = []string{"x"}
	}
	p.Keys = append(p.Keys, p.ClusterKeys...)
}
