package tables

import (
	"cmp"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/waves"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

// Plan is a plan as -o json has it.
type Plan struct {
	Pipeline string     `json:"pipeline"`
	Modules  []PlanStep `json:"modules"`
	Skipped  []string   `json:"not_selected"`
}

// PlanStep is a module, or a family whose members are not known yet.
type PlanStep struct {
	Name     string    `json:"name"`
	Family   string    `json:"family"`
	Dynamic  bool      `json:"dynamic"` // a family that is expanded while the run goes on
	Wave     int       `json:"wave"`    // from 1: one more than the highest of what it needs
	Lane     jobs.Lane `json:"lane"`
	Slots    int       `json:"slots"`
	Needs    []string  `json:"needs"`
	Estimate *float64  `json:"estimate"` // seconds; null without history
}

// NewPlan plans a pipeline. took is how long its modules have taken before.
func NewPlan(p *pipeline.Pipeline, took map[string]time.Duration) *Plan {
	plan := &Plan{Pipeline: p.Name, Modules: []PlanStep{}, Skipped: []string{}}
	waves := waves.New(p)
	for i, m := range p.Modules {
		if m.Unselected {
			plan.Skipped = append(plan.Skipped, m.Name)
			continue
		}
		step := PlanStep{
			Name: m.Name, Family: m.Family, Dynamic: m.Dynamic != nil, Wave: waves.Of(i),
			Lane: jobs.LaneOf(m.Requires, m.Slots), Slots: m.Slots, Needs: []string{},
		}
		for _, n := range m.Needs {
			step.Needs = append(step.Needs, n.Module)
		}
		if t, ok := took[m.Name]; ok {
			seconds := t.Seconds()
			step.Estimate = &seconds
		}
		plan.Modules = append(plan.Modules, step)
	}
	return plan
}

// Write writes it for people.
func (p *Plan) Write(w io.Writer) {
	g := console.Table{Head: []string{"WAVE", "MODULE", "LANE", "ESTIMATE", "NEEDS"}}
	last := 0
	byWave := slices.Clone(p.Modules)
	slices.SortStableFunc(byWave, func(x, y PlanStep) int { return cmp.Compare(x.Wave, y.Wave) })
	for _, m := range byWave {
		last = m.Wave
		g.Add(strconv.Itoa(m.Wave), stepName(m), string(m.Lane), durationOrDash(m.Estimate), phrase.OrDash(strings.Join(m.Needs, ", ")))
	}
	g.Write(w)
	console.Writef(w, "\n%s in %s", phrase.Count(len(p.Modules), "module"), phrase.Count(last, "wave"))
	if n := len(p.Skipped); n > 0 {
		console.Writef(w, ", %d not selected", n)
	}
	console.Writeln(w)
}

func stepName(m PlanStep) string {
	if m.Dynamic {
		return m.Name + " (a family: its members follow from its needs)"
	}
	return m.Name
}

func durationOrDash(s *float64) string {
	if s == nil {
		return "-"
	}
	return phrase.Seconds(*s)
}
