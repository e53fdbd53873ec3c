package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/content"
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

// CachedOutput calls f with the output of the attempt whose result a module took from
// the cache, in pieces. It reads what was stored with the result, and if that is not
// kept, the log of the run that stored it. It returns broker.ErrNotFound when neither
// is kept.
func (c *Client) CachedOutput(ctx context.Context, from *jobs.Cached, f func([]byte) error) error {
	if from.Log == jobs.EmptyBlob {
		return nil
	}
	began := false
	err := c.storedLog(ctx, from, func(data []byte) error {
		began = true
		return f(data)
	})
	if began || !errors.Is(err, broker.ErrNotFound) {
		return err
	}
	list, err := c.Modules(ctx, from.Run)
	if dropped := (*broker.DroppedError)(nil); errors.As(err, &dropped) {
		return fmt.Errorf("%w: %w", broker.ErrNotFound, err)
	}
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(m Module) bool { return m.Name == from.Module })
	if i < 0 {
		return fmt.Errorf("module %s of run %s: %w", from.Module, from.Run, broker.ErrNotFound)
	}
	return c.Output(ctx, from.Run, jobs.AttemptID{Module: list[i].ID, Attempt: max(1, from.Attempt)}, func(e broker.LogEntry) error {
		for _, p := range e.Chunk.Parts {
			if err := f(p.Data); err != nil {
				return err
			}
		}
		return nil
	})
}

// logPiece is how much of a stored log is passed on at a time, in bytes.
const logPiece = 64 << 10

// storedLog reads the log that was stored with a result.
func (c *Client) storedLog(ctx context.Context, from *jobs.Cached, f func([]byte) error) error {
	if from.Log.SHA256 == "" {
		return broker.ErrNotFound
	}
	store, err := c.conn.Files.In(from.Namespace)
	if err != nil {
		return fmt.Errorf("%w: %w", broker.ErrNotFound, err)
	}
	r, err := store.Open(ctx, content.Digest(from.Log.SHA256))
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // nothing was written
	piece := make([]byte, logPiece)
	for {
		n, err := r.Read(piece)
		if n > 0 {
			if err := f(piece[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// FromCache is the line that tells where the output of a cached module comes from.
func FromCache(from *jobs.Cached) string {
	return fmt.Sprintf("the result of %s of run %s, from %s", from.Module, from.Run, from.When.UTC().Format("2006-01-02 15:04 UTC"))
}

// NotKept tells that the output of a cached result is gone.
const NotKept = "its output is not kept any more"
