package cli

import (
	"cmp"
	"context"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/safetext"
	"github.com/modpipe/modpipe/internal/store"
	"github.com/modpipe/modpipe/internal/waves"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

// planShown is a plan as -o json has it.
type planShown struct {
	Pipeline string     `json:"pipeline"`
	Modules  []planStep `json:"modules"`
	Skipped  []string   `json:"not_selected"`
}

// planStep is a module, or a family whose members are not known yet.
type planStep struct {
	Name     string    `json:"name"`
	Family   string    `json:"family"`
	Dynamic  bool      `json:"dynamic"` // a family that is expanded while the run goes on
	Wave     int       `json:"wave"`    // from 1: one more than the highest of what it needs
	Lane     jobs.Lane `json:"lane"`
	Slots    int       `json:"slots"`
	Needs    []string  `json:"needs"`
	Estimate *float64  `json:"estimate"` // seconds; null without history
}

func planCommand(a *app) *cobra.Command {
	s, where := &pipelineFlags{}, &store.Location{}
	cmd := &cobra.Command{
		Use: "plan FILE", Short: "Show what a run would do: waves, lanes, estimates", ValidArgsFunction: completeFile,
		Long: "Show what a run would do, and run nothing: the waves in which modules may start,\n" +
			"the lane on which each waits for a worker, and how long it has usually taken.",
	}
	s.define(cmd.Flags())
	defineLocation(cmd.Flags(), where, "whose earlier runs to estimate from (default: the git work tree that holds FILE, else FILE's directory)")
	completeSelection(a, cmd)
	cmd.RunE = a.do(between(1, 1, "plan FILE"), func(ctx context.Context, args []string) error {
		p, err := loadUntilSignal(ctx, a, args[0], *s)
		if err != nil {
			return err
		}
		took := historyOf(ctx, a, *where, args[0], p.Name)
		return a.untilSignal(ctx, func() error {
			plan := newPlan(p, took)
			return a.emit(plan, plan.table, func(w io.Writer) {
				for _, m := range plan.Modules {
					console.Writeln(w, safetext.Line(m.Name))
				}
			})
		})
	})
	return cmd
}

// historyPatience bounds what a plan spends on its estimates.
const historyPatience = 3 * time.Second

// history is how long the pipeline's modules have taken before, as far as the
// server or store that a run would use knows. A plan is as good without.
func historyOf(ctx context.Context, a *app, p store.Location, file, pipeline string) map[string]time.Duration {
	ctx, stop := context.WithTimeout(ctx, historyPatience)
	defer stop()
	s, err := a.sessions.OpenFor(ctx, p, filepath.Dir(a.path(file)))
	if err != nil {
		return nil
	}
	defer s.Close()
	known, err := client.New(s.Conn).Durations(ctx, pipeline)
	if err != nil {
		return nil
	}
	return known.Took
}

func newPlan(p *pipeline.Pipeline, took map[string]time.Duration) *planShown {
	plan := &planShown{Pipeline: p.Name, Modules: []planStep{}, Skipped: []string{}}
	waves := waves.New(p)
	for i, m := range p.Modules {
		if m.Unselected {
			plan.Skipped = append(plan.Skipped, m.Name)
			continue
		}
		step := planStep{
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

func (p *planShown) table(w io.Writer) {
	g := console.Table{Head: []string{"WAVE", "MODULE", "LANE", "ESTIMATE", "NEEDS"}}
	last := 0
	byWave := slices.Clone(p.Modules)
	slices.SortStableFunc(byWave, func(x, y planStep) int { return cmp.Compare(x.Wave, y.Wave) })
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

func stepName(m planStep) string {
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
