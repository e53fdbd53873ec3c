package worker

import (
	"context"
	"maps"
	"sync"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/pipeline"
)

// consider decides for each lane whether this worker serves it, and sends a heartbeat
// immediately: an orchestrator waits for it to know which workers are capable.
func (s *shift) consider(ctx context.Context, in <-chan kv.LaneChange) error {
	var once sync.Once
	for {
		batch, ok := nextBatch(ctx, in)
		if !ok {
			return nil
		}
		var lanes []kv.LaneChange
		synced, began, seen := false, false, uint64(0)
		for _, c := range batch {
			synced = synced || c.Synced
			if c.Began {
				began, seen = true, 0 // the revisions of another bucket count from 1
			}
			seen = max(seen, c.Revision)
			if c.Lane != "" {
				lanes = append(lanes, c)
			}
		}
		s.decide(ctx, lanes)
		s.mu.Lock()
		if began {
			s.lanesSeen = 0
		}
		s.lanesSeen = max(s.lanesSeen, seen)
		s.mu.Unlock()
		s.beatNow()
		if synced {
			once.Do(func() { close(s.looked) })
		}
	}
}

// nextBatch waits for a change, and returns it with all others that have arrived.
func nextBatch(ctx context.Context, in <-chan kv.LaneChange) ([]kv.LaneChange, bool) {
	var batch []kv.LaneChange
	select {
	case c := <-in:
		batch = append(batch, c)
	case <-ctx.Done():
		return nil, false
	}
	for len(batch) < cap(in) {
		select {
		case c := <-in:
			batch = append(batch, c)
		default:
			return batch, true
		}
	}
	return batch, true
}

// decide handles lanes in two passes: those that need no tool to be run do not wait
// for the others.
func (s *shift) decide(ctx context.Context, lanes []kv.LaneChange) {
	var asking []kv.LaneChange
	for _, c := range lanes {
		if !c.Gone && s.tools.mustAsk(c.Set.Requires.Tools) {
			asking = append(asking, c)
			continue
		}
		s.serveOrNot(ctx, c)
	}
	var wg sync.WaitGroup
	for _, c := range asking {
		for _, t := range c.Set.Requires.Tools {
			wg.Go(func() { s.tools.version(ctx, t) })
		}
	}
	wg.Wait()
	for _, c := range asking {
		s.serveOrNot(ctx, c)
	}
}

func (s *shift) serveOrNot(ctx context.Context, c kv.LaneChange) {
	if c.Gone {
		s.unserveLane(c.Lane)
		return
	}
	capabilities := s.learn(ctx, c.Set.Requires.Tools)
	if !capabilities.Offer(c.Set.Requires) {
		s.unserveLane(c.Lane)
		return
	}
	s.serveLane(c.Lane, max(1, min(c.Set.Slots, s.cfg.Slots)))
}

// learn adds the tools that a lane requires to the heartbeat, and returns all known
// capabilities.
func (s *shift) learn(ctx context.Context, tools []pipeline.Tool) jobs.Capabilities {
	found := map[string]string{}
	for _, t := range tools {
		if v, ok := s.tools.version(ctx, t); ok {
			found[t.Name] = v
		}
	}
	c := s.tools.base()
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, v := range found {
		if v != "" || s.known[name] == "" {
			s.known[name] = v
		}
	}
	c.Tools = maps.Clone(s.known)
	return c
}
