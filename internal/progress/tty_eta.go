package progress

import (
	"slices"
	"time"

	"github.com/modpipe/modpipe/internal/waves"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

const (
	etaEvery   = 2 * time.Second
	etaEnough  = 3       // modules that must have ended before the view estimates those without history
	etaMaxEdge = 200_000 // number of needs above which the longest path is not computed
)

// liveETA estimates when a run ends. The estimate is the remaining work divided by the
// slots, or the longest remaining path if that is longer.
type liveETA struct {
	took  map[string]time.Duration // of earlier runs
	order []int                    // the graph's modules, each before its needs; nil = unknown
	edges [][]int                  // module → its needs

	learned time.Duration // total of the modules that have succeeded in this run
	lessons int

	at    time.Time
	known bool
	value time.Duration // from at on
}

func (t *liveETA) learn(took time.Duration) {
	if took > 0 {
		t.learned += took
		t.lessons++
	}
}

// layOut orders a graph. It does not keep the graph, which is large.
func (t *liveETA) layOut(graph *pipeline.Pipeline) {
	size := 0
	for _, m := range graph.Modules {
		for _, n := range m.Needs {
			size += max(1, len(graph.Families[n.Module]))
		}
	}
	if size > etaMaxEdge {
		return
	}
	t.edges, t.order = make([][]int, len(graph.Modules)), make([]int, len(graph.Modules))
	for i := range t.order {
		t.order[i] = i
	}
	if size == 0 {
		return
	}
	w := waves.New(graph)
	waves := make([]int, len(graph.Modules))
	for i, m := range graph.Modules {
		for _, n := range m.Needs {
			t.edges[i] = append(t.edges[i], w.Needs.Of(m, n)...)
		}
		waves[i] = w.Of(i)
	}
	slices.SortStableFunc(t.order, func(a, b int) int { return waves[b] - waves[a] })
}

// left returns the estimate, which it renews now and then.
func (t *liveETA) left(s *liveState, now time.Time) (time.Duration, bool) {
	if s.ended != "" || s.stopping {
		return 0, false
	}
	if now.Sub(t.at) >= etaEvery {
		t.at = now
		t.value, t.known = t.compute(s, now)
	}
	return max(0, t.value-now.Sub(t.at)), t.known
}

func (t *liveETA) compute(s *liveState, now time.Time) (time.Duration, bool) {
	guess := t.guess()
	if guess == 0 {
		return 0, false
	}
	work := time.Duration(s.unheard) * guess
	rest := make([]time.Duration, len(t.edges)) // by index in the graph
	for i := range rest {
		rest[i] = -1 // has ended
	}
	known := t.lessons >= etaEnough
	for _, m := range s.modules {
		if m.status.Terminal() {
			continue
		}
		r, sure := t.rest(m, guess, now)
		known = known || sure
		work += r * time.Duration(m.slots)
		if m.index >= 0 && m.index < len(rest) {
			rest[m.index] = r
		}
	}
	slots := 0
	for _, w := range s.workers {
		if w.gone == "" {
			slots += w.slots
		}
	}
	return max(work/time.Duration(max(1, slots)), t.path(rest)), known
}

// guess returns the estimate for a module without history.
func (t *liveETA) guess() time.Duration {
	if t.lessons > 0 {
		return t.learned / time.Duration(t.lessons)
	}
	if len(t.took) == 0 {
		return 0
	}
	var sum time.Duration
	for _, d := range t.took {
		sum += d
	}
	return sum / time.Duration(len(t.took))
}

// rest returns the remaining time of a module, and whether its duration is known.
func (t *liveETA) rest(m *liveModule, guess time.Duration, now time.Time) (time.Duration, bool) {
	d, sure := t.took[m.name]
	if !sure {
		d = guess
	}
	switch m.status {
	case report.Running:
		d -= now.Sub(m.started)
	case report.Retrying:
		d += max(0, m.retryAt.Sub(now))
	default:
	}
	return max(0, d), sure
}

// path returns the longest path through the remaining modules.
func (t *liveETA) path(rest []time.Duration) time.Duration {
	longest := time.Duration(0)
	after := make([]time.Duration, len(t.edges))
	for _, i := range t.order {
		if rest[i] < 0 {
			continue
		}
		whole := rest[i] + after[i]
		longest = max(longest, whole)
		for _, need := range t.edges[i] {
			after[need] = max(after[need], whole)
		}
	}
	return longest
}

// roughly returns a duration as rounded text.
func roughly(d time.Duration) string {
	step := time.Minute
	switch {
	case d < 5*time.Second:
		return "a few seconds left"
	case d < time.Minute:
		step = 5 * time.Second
	case d < 10*time.Minute:
		step = 10 * time.Second
	}
	return "about " + jobs.ShortDuration((d + step/2).Truncate(step)) + " left"
}
