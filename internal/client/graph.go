package client

import (
	"context"
	"maps"
	"slices"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// Graph returns the graph of a run and its report as it is now. The graph has
// the members of the families that the run has expanded. Graph returns
// broker.ErrNotFound when there is no such run.
func (c *Client) Graph(ctx context.Context, run jobs.RunID) (*pipeline.Pipeline, *report.Report, error) {
	log, err := c.conn.Runs.Read(ctx, run)
	if err != nil {
		return nil, nil, err
	}
	rep, err := c.Show(ctx, run)
	if err != nil {
		return nil, nil, err
	}
	p, err := graphOfRun(log, rep)
	return p, rep, err
}

// graphOfRun returns the graph of a run's specification, with the members of
// the families that the run has expanded.
func graphOfRun(log []jobs.Entry, rep *report.Report) (*pipeline.Pipeline, error) {
	whole := map[string]bool{} // families that the report shows as one
	for i := range rep.Modules {
		whole[rep.Modules[i].Name] = true
	}
	var p pipeline.Pipeline
	for _, e := range log {
		switch rec := e.Record; {
		case rec.Spec != nil && rec.Spec.Pipeline != nil:
			p = *rec.Spec.Pipeline
			p.Modules, p.Families = slices.Clone(p.Modules), map[string][]int{}
			maps.Copy(p.Families, rec.Spec.Pipeline.Families)
		case rec.Expansion != nil:
			i := slices.IndexFunc(p.Modules, func(m *pipeline.Module) bool { return m.Token == string(rec.Expansion.Module) })
			if i < 0 || p.Modules[i].Dynamic == nil || whole[p.Modules[i].Name] {
				continue
			}
			if err := expandIn(&p, i, rec.Expansion.Combinations); err != nil {
				return nil, err
			}
		}
	}
	return &p, nil
}

// expandIn adds the members of a family to the graph, and marks its placeholder
// as unselected.
func expandIn(p *pipeline.Pipeline, i int, combinations [][]pipeline.Coordinate) error {
	members, err := p.Members(p.Modules[i], combinations)
	if err != nil {
		return err
	}
	family := p.Modules[i].Family
	p.Families[family] = nil
	for _, m := range members {
		p.Families[family] = append(p.Families[family], len(p.Modules))
		p.Modules = append(p.Modules, m)
	}
	placeholder := *p.Modules[i]
	placeholder.Unselected = true
	p.Modules[i] = &placeholder
	return nil
}
