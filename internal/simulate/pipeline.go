package simulate

import (
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

// populate makes the parties, the runs and the faults of a world.
func (w *world) populate() {
	w.net = weather{}
	if w.chance(0.8) {
		w.net = weather{
			loss: w.rand.Float64() * 0.04, twice: w.rand.Float64() * 0.04,
			late: w.rand.Float64() * 0.03, longest: w.between(50*time.Millisecond, 4*time.Second),
		}
	}
	for i := range 1 + w.rand.IntN(2) {
		w.submit(jobs.RunID("r" + utoa(uint64(i+1))))
	}
	for i := range 1 + w.rand.IntN(3) {
		o := &orchestrator{party: newParty(w, "o"+utoa(uint64(i+1)))}
		w.orchestrators = append(w.orchestrators, o)
		o.start()
	}
	for i := range 1 + w.rand.IntN(4) {
		k := &worker{party: newParty(w, "w"+utoa(uint64(i+1))), slots: 1 + w.rand.IntN(3), os: "linux"}
		if w.chance(0.3) {
			k.os = "darwin"
		}
		w.workers = append(w.workers, k)
		k.start()
	}
	w.trouble()
}

// submit writes the specification of a run.
func (w *world) submit(id jobs.RunID) {
	w.server.logs[id] = &log{last: map[string]uint64{}, newest: map[jobs.Token]jobs.Entry{}}
	r := &run{id: id}
	w.runs = append(w.runs, r)
	r.truth.begin()
	w.server.append(id, "", 0, jobs.Record{Spec: &jobs.Spec{Run: id, Pipeline: w.pipeline()}})
}

// pipeline draws a graph with every policy that the core decides about. The
// text of a condition says how it comes out.
func (w *world) pipeline() *pipeline.Pipeline {
	p := &pipeline.Pipeline{Name: "p", FailSlow: w.chance(0.5), Limits: map[string]int{"l": 1 + w.rand.IntN(2)}}
	if w.chance(0.15) {
		p.Deadline = w.between(2*time.Second, 30*time.Second)
	}
	alone := w.chance(0.15)
	for i := range 1 + w.rand.IntN(9) {
		p.Modules = append(p.Modules, w.module(i, alone))
	}
	return p
}

func (w *world) module(i int, alone bool) *pipeline.Module {
	name := "m" + utoa(uint64(i))
	m := &pipeline.Module{Name: name, Token: name, Slots: 1}
	for k := range i {
		if w.chance(0.2) {
			m.Needs = append(m.Needs, pipeline.Need{Module: "m" + utoa(uint64(k)), Optional: w.chance(0.3)})
		}
	}
	if w.chance(0.1) {
		m.Requires.OS = "darwin"
	}
	m.Unselected = w.chance(0.05)
	if w.chance(0.15) {
		m.If = []string{"true", "true", "false", "error"}[w.rand.IntN(4)]
	}
	p := &m.Policy
	p.AlwaysRun, p.IgnoreFailure = w.chance(0.2), w.chance(0.15)
	p.Timeout, p.Grace, p.QueueTimeout = w.between(time.Second, 8*time.Second), w.between(50*time.Millisecond, 2*time.Second), w.between(2*time.Second, 20*time.Second)
	p.MaxLosses = 1 + w.rand.IntN(3)
	p.Retry = pipeline.Retry{Attempts: 1 + w.rand.IntN(3), Delay: w.between(10*time.Millisecond, 3*time.Second), MaxDelay: 5 * time.Second}
	p.Priority = pipeline.Priority(w.rand.IntN(3) - 1)
	switch {
	case w.chance(0.35):
		p.Keys = [][]string{{"a"}, {"b"}, {"a", "b"}}[w.rand.IntN(3)]
	case w.chance(0.2):
		p.Limits = []string{"l"}
	}
	p.Exclusive = alone && w.chance(0.4)
	return m
}

// combinations are those of a family.
func combinations(*pipeline.Module) ([][]pipeline.Pair, error) { return nil, nil }
