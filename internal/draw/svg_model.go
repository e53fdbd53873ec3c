package draw

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/waves"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// picture is what -o svg and -o html show: modules, what they need, and how
// long each took or usually takes.
type picture struct {
	pipeline string
	report   *report.Report // of the run that is shown; nil = none
	modules  []pictured
	links    []layoutLink // between modules
	waves    int
	critical []int   // the longest chain by durations: indices of modules
	total    float64 // its seconds
	measured bool    // the durations are of the run, not estimates
}

// pictured is a module in a picture.
type pictured struct {
	name, family string
	label        string // a member's values
	wave         int    // from 1
	status       string // "" without a run
	seconds      float64
	timed        bool // seconds is known
	critical     bool
	marks        []string // what is particular about it, in words
	of           *report.Module
}

// newPicture builds the picture of a drawing. took are estimates of durations.
func newPicture(d *drawing, rep *report.Report, took map[string]time.Duration) *picture {
	pic := &picture{pipeline: d.p.Name, report: rep, measured: rep != nil}
	at := make(map[int]int, len(d.p.Modules))
	waves := waves.New(d.p)
	reports := map[string]*report.Module{}
	if rep != nil {
		for i := range rep.Modules {
			reports[rep.Modules[i].Name] = &rep.Modules[i]
		}
	}
	for i, m := range d.p.Modules {
		if m.Unselected {
			continue
		}
		at[i] = len(pic.modules)
		c := pictured{name: m.Name, family: m.Family, label: d.label(i), wave: waves.Of(i), marks: marksOf(m), of: reports[m.Name]}
		c.time(rep != nil, took)
		pic.waves = max(pic.waves, c.wave)
		pic.modules = append(pic.modules, c)
	}
	for _, e := range d.edges {
		pic.links = append(pic.links, layoutLink{at[e.from], at[e.to], e.optional})
	}
	pic.findCritical()
	return pic
}

// time gives the module its status and duration.
func (c *pictured) time(ran bool, took map[string]time.Duration) {
	switch t, known := took[c.name]; {
	case c.of != nil:
		c.status, c.seconds, c.timed = string(c.of.Status), c.of.Duration, c.of.Started != nil
	case ran:
		c.status = "not in the run"
	case known:
		c.seconds, c.timed = t.Seconds(), true
	}
}

// markDynamic marks a family whose members are not known yet.
const markDynamic = "expands in the run"

func marksOf(m *pipeline.Module) []string {
	var marks []string
	if m.Dynamic != nil {
		marks = append(marks, markDynamic)
	}
	if m.Policy.AlwaysRun {
		marks = append(marks, "always runs")
	}
	if m.Policy.IgnoreFailure {
		marks = append(marks, "may fail")
	}
	if m.If != "" {
		marks = append(marks, "if")
	}
	return marks
}

// findCritical finds the chain of needs with the greatest sum of durations.
// An estimate that is missing is the median of the others, as for the scheduler.
func (p *picture) findCritical() {
	took := make([]float64, len(p.modules))
	var known []float64
	for i := range p.modules {
		if p.modules[i].timed {
			took[i] = p.modules[i].seconds
			known = append(known, took[i])
		}
	}
	if len(known) == 0 {
		return
	}
	slices.Sort(known)
	for i := range p.modules {
		if !p.modules[i].timed && !p.measured {
			took[i] = known[len(known)/2]
		}
	}
	p.critical, p.total = longestChain(took, p.links)
	for _, i := range p.critical {
		p.modules[i].critical = true
	}
}

// longestChain is the chain of links with the greatest sum, without a tail
// that adds nothing.
func longestChain(took []float64, links []layoutLink) (chain []int, sum float64) {
	after, waits := make([][]int, len(took)), make([]int, len(took))
	for _, l := range links {
		after[l.from] = append(after[l.from], l.to)
		waits[l.to]++
	}
	var ready []int
	best, from := make([]float64, len(took)), make([]int, len(took))
	for i := range took {
		from[i] = -1
		if waits[i] == 0 {
			ready = append(ready, i)
		}
	}
	last := -1
	for next := 0; next < len(ready); next++ {
		i := ready[next]
		best[i] += took[i]
		if best[i] > sum {
			last, sum = i, best[i]
		}
		for _, j := range after[i] {
			if best[i] > best[j] {
				best[j], from[j] = best[i], i
			}
			if waits[j]--; waits[j] == 0 {
				ready = append(ready, j)
			}
		}
	}
	for i := last; i >= 0; i = from[i] {
		chain = append(chain, i)
	}
	slices.Reverse(chain)
	return chain, sum
}

// criticalText reports what the longest chain is; "" when no durations are known.
func (p *picture) criticalText() string {
	if len(p.critical) == 0 {
		return ""
	}
	var names []string
	for _, i := range p.critical {
		names = append(names, p.modules[i].name)
	}
	what := "critical path, estimated from earlier runs: "
	if p.measured {
		what = "critical path: "
	}
	return what + phrase.Seconds(p.total) + " = " + strings.Join(names, " → ")
}

// statusCounts are the totals by status, worst first.
func statusCounts(modules []pictured) []string {
	counts := map[string]int{}
	for i := range modules {
		counts[modules[i].status]++
	}
	delete(counts, "")
	var words []string
	for s := range counts {
		words = append(words, s)
	}
	slices.SortFunc(words, func(a, b string) int {
		return cmp.Or(cmp.Compare(statusRank(a), statusRank(b)), strings.Compare(a, b))
	})
	for i, s := range words {
		words[i] = fmt.Sprintf("%d %s", counts[s], s)
	}
	return words
}

// statusRank orders statuses by how much they want attention.
func statusRank(status string) int {
	order := []string{
		"failed", "timed_out", "dependency_failed", "ignored_failure", "cancelled",
		"running", "retrying", "ready", "waiting", "succeeded", "cached", "skipped",
	}
	if i := slices.Index(order, status); i >= 0 {
		return i
	}
	return len(order)
}
