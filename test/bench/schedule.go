package main

import (
	"embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"text/tabwriter"
	"time"

	"github.com/modpipe/modpipe/internal/forecast"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

//go:embed testdata/dags/*.json
var graphs embed.FS

const (
	graphSeeds   = 5 // draws of the tagged modules, for each graph
	slotsAWorker = 2
	scarceTag    = "scarce"
)

// graph is a workflow of testdata/dags.
type graph struct {
	Name  string `json:"name"`
	Tasks []task `json:"tasks"`
}

// task is one line of a graph.
type task struct {
	took  time.Duration
	needs []int
	bytes int64 // of its output
}

// UnmarshalJSON reads [id, seconds, [needs], bytes].
func (t *task) UnmarshalJSON(text []byte) error {
	var id any
	var seconds float64
	if err := json.Unmarshal(text, &[]any{&id, &seconds, &t.needs, &t.bytes}); err != nil {
		return err
	}
	t.took = time.Duration(seconds * float64(time.Second))
	return nil
}

// fleetOf is a fleet of equal workers, a quarter of which has the scarce tag,
// and the share of the modules that require it.
type fleetOf struct {
	slots  int
	tagged float64
}

// schedules prints how long real graphs take beside the lower bound, in
// virtual time: by the scheduler's own code, with and without a history of
// durations, and by first in, first out. The lower bound is the longest of the
// critical path, all work on all slots, and the tagged work on the tagged slots.
func schedules(args []string) error {
	set := flag.NewFlagSet("schedule", flag.ContinueOnError)
	perGraph := set.Bool("graphs", false, "a row for each graph, too")
	if err := set.Parse(args); err != nil {
		return err
	}
	all, err := loadGraphs()
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "slots\ttagged\tgraph\twith history\twithout\tfifo\t")
	for _, tagged := range []float64{0, 0.25, 0.5} {
		var small ratios
		for _, slots := range []int{8, 32, 128} {
			total, err := measureGraphs(w, all, fleetOf{slots, tagged}, *perGraph)
			if err != nil {
				return err
			}
			total.print(w, fmt.Sprint(slots), tagged, "mean")
			if slots <= 32 {
				small.add(total)
			}
		}
		small.print(w, "8, 32", tagged, "mean")
	}
	return w.Flush()
}

func loadGraphs() ([]graph, error) {
	names, err := fs.Glob(graphs, "testdata/dags/*.json")
	if err != nil {
		return nil, err
	}
	var all []graph
	for _, name := range names {
		text, err := graphs.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var g graph
		if err := json.Unmarshal(text, &g); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, g)
	}
	if len(all) == 0 {
		return nil, errors.New("there are no graphs")
	}
	return all, nil
}

// ratios are sums of lengths beside the lower bound, and how many were added.
type ratios struct {
	history, blind, fifo float64
	n                    int
}

func (r *ratios) add(o ratios) {
	r.history, r.blind, r.fifo, r.n = r.history+o.history, r.blind+o.blind, r.fifo+o.fifo, r.n+o.n
}

func (r *ratios) print(w *tabwriter.Writer, slots string, tagged float64, name string) {
	n := float64(r.n)
	_, _ = fmt.Fprintf(w, "%s\t%.0f %%\t%s\t%.3f\t%.3f\t%.3f\t\n", slots, 100*tagged, name, r.history/n, r.blind/n, r.fifo/n)
}

func measureGraphs(w *tabwriter.Writer, all []graph, f fleetOf, perGraph bool) (ratios, error) {
	var total ratios
	for _, g := range all {
		var of ratios
		for seed := range uint64(graphSeeds) {
			r, err := f.measure(g, seed)
			if err != nil {
				return ratios{}, fmt.Errorf("%s on %d slots: %w", g.Name, f.slots, err)
			}
			of.add(r)
			if f.tagged == 0 {
				break // every draw is the same
			}
		}
		if perGraph {
			of.print(w, fmt.Sprint(f.slots), f.tagged, g.Name)
		}
		total.add(of)
	}
	return total, nil
}

func (f fleetOf) measure(g graph, seed uint64) (ratios, error) {
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a draw that can be repeated
	tagged := make([]bool, len(g.Tasks))
	for i := range tagged {
		tagged[i] = random.Float64() < f.tagged
	}
	bound := f.bound(g, tagged).Seconds()
	with, err := f.play(g, tagged, true)
	if err != nil {
		return ratios{}, err
	}
	without, err := f.play(g, tagged, false)
	if err != nil {
		return ratios{}, err
	}
	return ratios{with.Seconds() / bound, without.Seconds() / bound, f.fifo(g, tagged).Seconds() / bound, 1}, nil
}

// bound returns the lower bound of every schedule.
func (f fleetOf) bound(g graph, tagged []bool) time.Duration {
	var work, scarce, critical time.Duration
	ends := make([]time.Duration, len(g.Tasks))
	for _, i := range g.order() {
		t := g.Tasks[i]
		for _, need := range t.needs {
			ends[i] = max(ends[i], ends[need])
		}
		ends[i] += t.took
		critical = max(critical, ends[i])
		work += t.took
		if tagged[i] {
			scarce += t.took
		}
	}
	return max(critical, work/time.Duration(f.slots), scarce/time.Duration(f.slots/4))
}

// order lists the tasks, each after those that it needs.
func (g graph) order() []int {
	var order []int
	seen := make([]bool, len(g.Tasks))
	var visit func(int)
	visit = func(i int) {
		if seen[i] {
			return
		}
		seen[i] = true
		for _, need := range g.Tasks[i].needs {
			visit(need)
		}
		order = append(order, i)
	}
	for i := range g.Tasks {
		visit(i)
	}
	return order
}

// play runs the graph with the scheduler.
func (f fleetOf) play(g graph, tagged []bool, history bool) (time.Duration, error) {
	p := &pipeline.Pipeline{Name: g.Name, Families: map[string][]int{}}
	took := map[string]time.Duration{}
	for i, t := range g.Tasks {
		name := fmt.Sprint("m", i)
		took[name] = t.took
		m := &pipeline.Module{Name: name, Token: name, Slots: 1, Policy: pipeline.Policy{
			MaxLosses: 3, QueueTimeout: time.Hour, Retry: pipeline.Retry{Attempts: 1},
		}}
		for _, need := range t.needs {
			m.Needs = append(m.Needs, pipeline.Need{Module: fmt.Sprint("m", need)})
		}
		if tagged[i] {
			m.Requires.Tags = []string{scarceTag}
		}
		p.Modules = append(p.Modules, m)
	}
	var known map[string]time.Duration
	if history {
		known = took
	}
	result, err := forecast.Of(p, f.workers(), func(m *pipeline.Module) time.Duration { return took[m.Name] }, known)
	return result.Length, err
}

func (f fleetOf) workers() []forecast.Worker {
	var all []forecast.Worker
	for i := range f.slots / slotsAWorker {
		w := forecast.Worker{Name: fmt.Sprintf("w%03d", i), Slots: slotsAWorker}
		if i < f.slots/slotsAWorker/4 {
			w.Capabilities = jobs.Capabilities{Tags: []string{scarceTag}}
		}
		all = append(all, w)
	}
	return all
}

// fifo runs the tasks in the order in which they become ready; an untagged
// task takes any slot that is free.
func (f fleetOf) fifo(g graph, tagged []bool) time.Duration {
	q := &fifoQueue{
		graph: g, tagged: tagged, scarce: f.slots / 4, open: make([]int, len(g.Tasks)), behind: make([][]int, len(g.Tasks)),
		busy: make([]int, f.slots), ends: make([]time.Duration, f.slots),
		random: rand.New(rand.NewPCG(uint64(len(g.Tasks)), 0)), //nolint:gosec // a draw that can be repeated
	}
	for s := range q.busy {
		q.busy[s] = -1
	}
	for i, t := range g.Tasks {
		for _, need := range t.needs {
			q.behind[need] = append(q.behind[need], i)
		}
		if q.open[i] = len(t.needs); q.open[i] == 0 {
			q.ready = append(q.ready, i)
		}
	}
	for range g.Tasks {
		q.start()
		q.finish()
	}
	return q.now
}

// fifoQueue is a graph that runs first in, first out.
type fifoQueue struct {
	graph  graph
	tagged []bool
	scarce int // slots for tagged tasks, which come first
	open   []int
	behind [][]int
	ready  []int
	busy   []int // the task of each slot; -1 = free
	ends   []time.Duration
	now    time.Duration
	random *rand.Rand
}

// start starts every task that a slot is free for.
func (q *fifoQueue) start() {
	var kept []int
	for _, i := range q.ready {
		var free []int
		for s := range q.busy {
			if q.busy[s] < 0 && (!q.tagged[i] || s < q.scarce) {
				free = append(free, s)
			}
		}
		if len(free) == 0 {
			kept = append(kept, i)
			continue
		}
		s := free[q.random.IntN(len(free))]
		q.busy[s], q.ends[s] = i, q.now+q.graph.Tasks[i].took
	}
	q.ready = kept
}

// finish lets time pass until the first task ends.
func (q *fifoQueue) finish() {
	next := -1
	for s, i := range q.busy {
		if i >= 0 && (next < 0 || q.ends[s] < q.ends[next]) {
			next = s
		}
	}
	q.now = q.ends[next]
	for _, i := range q.behind[q.busy[next]] {
		if q.open[i]--; q.open[i] == 0 {
			q.ready = append(q.ready, i)
		}
	}
	q.busy[next] = -1
}
