package main

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"text/tabwriter"
	"time"
)

// locality prints how many bytes real graphs move between machines, when a task
// starts on any machine with a free slot, and when it starts on the one of them
// that has the most bytes of its inputs: the most that advice about the place of
// data can save without leaving a slot idle. A machine keeps what it has produced
// or fetched. Tasks start in the order of the longest remaining path.
func locality([]string) error {
	all, err := loadGraphs()
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "machines\tslots each\tgraph\tany, MB\tnearest, MB\tsaved\t")
	for _, f := range []machines{{2, 4}, {4, 2}, {4, 8}, {8, 4}} {
		var anySum, nearSum float64
		for _, g := range all {
			anywhere, nearest := f.moved(g, false), f.moved(g, true)
			anySum, nearSum = anySum+anywhere, nearSum+nearest
			f.print(w, g.Name, anywhere, nearest)
		}
		f.print(w, "all", anySum, nearSum)
	}
	return w.Flush()
}

// machines is a fleet of equal machines.
type machines struct{ count, slots int }

func (f machines) print(w *tabwriter.Writer, name string, anywhere, nearest float64) {
	_, _ = fmt.Fprintf(w, "%d\t%d\t%s\t%.1f\t%.1f\t%.0f %%\t\n", f.count, f.slots, name, anywhere, nearest, 100*(1-nearest/anywhere))
}

// moved is the mean of the megabytes that a graph moves.
func (f machines) moved(g graph, near bool) float64 {
	total := 0.0
	for seed := range uint64(graphSeeds) {
		p := newPlacement(f, g, near, rand.New(rand.NewPCG(seed, 0)))
		p.play()
		total += float64(p.bytes)
	}
	return total / graphSeeds / 1e6
}

// placement plays one graph on a fleet.
type placement struct {
	g         graph
	near      bool
	random    *rand.Rand
	free      []int          // slots, by machine
	has       []map[int]bool // tasks whose output a machine has
	left      []int          // needs that have not ended, by task
	followers [][]int
	rank      []time.Duration // longest remaining path
	ready     []int
	running   finishes
	now       time.Duration
	bytes     int64
}

func newPlacement(f machines, g graph, near bool, random *rand.Rand) *placement {
	n := len(g.Tasks)
	p := &placement{
		g: g, near: near, random: random, left: make([]int, n), followers: make([][]int, n), rank: make([]time.Duration, n),
	}
	for range f.count {
		p.free, p.has = append(p.free, f.slots), append(p.has, map[int]bool{})
	}
	for i, t := range g.Tasks {
		for _, need := range t.needs {
			p.followers[need] = append(p.followers[need], i)
		}
		if p.left[i] = len(t.needs); p.left[i] == 0 {
			p.ready = append(p.ready, i)
		}
	}
	for i := range g.Tasks {
		p.path(i)
	}
	return p
}

func (p *placement) path(i int) time.Duration {
	if p.rank[i] == 0 {
		var longest time.Duration
		for _, k := range p.followers[i] {
			longest = max(longest, p.path(k))
		}
		p.rank[i] = 1 + p.g.Tasks[i].took + longest
	}
	return p.rank[i]
}

func (p *placement) play() {
	for {
		slices.SortStableFunc(p.ready, func(a, b int) int { return int(p.rank[b] - p.rank[a]) })
		for len(p.ready) > 0 && slices.Max(p.free) > 0 {
			p.start(p.ready[0])
			p.ready = p.ready[1:]
		}
		if len(p.running) == 0 {
			return
		}
		e := heap.Pop(&p.running).(finish)
		p.now = e.at
		p.free[e.machine]++
		p.has[e.machine][e.task] = true
		for _, k := range p.followers[e.task] {
			if p.left[k]--; p.left[k] == 0 {
				p.ready = append(p.ready, k)
			}
		}
	}
}

// start starts a task on a machine with a free slot, and moves what that lacks.
func (p *placement) start(i int) {
	var best []int
	most := int64(-1)
	for m, free := range p.free {
		if free == 0 {
			continue
		}
		var there int64
		if p.near {
			for _, need := range p.g.Tasks[i].needs {
				if p.has[m][need] {
					there += p.g.Tasks[need].bytes
				}
			}
		}
		if there > most {
			best, most = nil, there
		}
		if there == most {
			best = append(best, m)
		}
	}
	m := best[p.random.IntN(len(best))]
	for _, need := range p.g.Tasks[i].needs {
		if !p.has[m][need] {
			p.has[m][need] = true
			p.bytes += p.g.Tasks[need].bytes
		}
	}
	p.free[m]--
	heap.Push(&p.running, finish{p.now + p.g.Tasks[i].took, i, m})
}

// finish is when a task ends, and where.
type finish struct {
	at            time.Duration
	task, machine int
}

// finishes are ordered by time.
type finishes []finish

func (e finishes) Len() int           { return len(e) }
func (e finishes) Less(a, b int) bool { return e[a].at < e[b].at }
func (e finishes) Swap(a, b int)      { e[a], e[b] = e[b], e[a] }
func (e *finishes) Push(x any)        { *e = append(*e, x.(finish)) }

func (e *finishes) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}
