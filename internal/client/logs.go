package client

import (
	"context"
	"slices"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

// Module identifies a module of a run and its newest attempt.
type Module struct {
	ID     jobs.ModuleID
	Name   string
	Family string       // "" = not a member of a family
	Newest jobs.Attempt // 0 = no attempt has begun
	Cached *jobs.Cached // where its result comes from, instead of an attempt
}

// Modules lists the modules of a run in the order of its graph. The members of
// an expanded family replace the family. Modules returns broker.ErrNotFound
// when there is no such run.
func (c *Client) Modules(ctx context.Context, run jobs.RunID) ([]Module, error) {
	log, err := c.conn.Runs.Read(ctx, run)
	if err != nil {
		return nil, err
	}
	return modulesOf(log)
}

func modulesOf(log []jobs.Entry) (modules []Module, err error) {
	var p *pipeline.Pipeline
	declared, newest := map[jobs.ModuleID]*pipeline.Module{}, map[jobs.ModuleID]jobs.Attempt{}
	cached := map[jobs.ModuleID]*jobs.Cached{}
	add := func(list []*pipeline.Module) {
		for _, m := range list {
			id := jobs.ModuleID(m.Token)
			declared[id] = m
			modules = append(modules, Module{ID: id, Name: m.Name, Family: m.Family})
		}
	}
	for _, e := range log {
		switch r := e.Record; {
		case r.Spec != nil && r.Spec.Pipeline != nil:
			p = r.Spec.Pipeline
			add(p.Modules)
		case r.Expansion != nil && p != nil && declared[r.Expansion.Module] != nil:
			members, err := p.Members(declared[r.Expansion.Module], r.Expansion.Combinations)
			if err != nil {
				return nil, err
			}
			modules = slices.DeleteFunc(modules, func(m Module) bool { return m.ID == r.Expansion.Module })
			add(members)
		case r.Claim != nil:
			newest[e.Cell] = max(newest[e.Cell], r.Claim.Attempt)
		case r.Outcome != nil:
			newest[e.Cell] = max(newest[e.Cell], r.Outcome.Attempt)
			cached[e.Cell] = r.Outcome.Cached
		}
	}
	for i := range modules {
		modules[i].Newest, modules[i].Cached = newest[modules[i].ID], cached[modules[i].ID]
	}
	return modules, nil
}

// Output calls f with the stored output of an attempt, in chunks, in order.
func (c *Client) Output(ctx context.Context, run jobs.RunID, of jobs.AttemptID, f func(broker.LogEntry) error) error {
	return c.conn.Logs.Read(ctx, run, of.Module, of.Attempt, f)
}

// Outputs calls f with the stored output of the given attempt of modules. With
// attempt 0 it calls f with the output of the newest attempt of each module.
func (c *Client) Outputs(ctx context.Context, run jobs.RunID, modules []Module, attempt jobs.Attempt, f func(broker.LogEntry) error) error {
	wanted := map[jobs.ModuleID]jobs.Attempt{}
	for _, m := range modules {
		wanted[m.ID] = m.Newest
	}
	return c.conn.Logs.Read(ctx, run, "", attempt, func(e broker.LogEntry) error {
		newest, ok := wanted[e.ID.Module]
		if !ok || attempt == 0 && e.ID.Attempt != newest {
			return nil
		}
		return f(e)
	})
}
