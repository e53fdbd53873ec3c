package broker

import (
	"context"
	"fmt"
	"sync"
	"time"
	"weak"

	"golang.org/x/sync/singleflight"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/jobs"
)

// specs finds the specifications that this process still uses. An orchestrator and
// the followers of its run fold the same log, in which the graph is the largest
// part. They share one copy, which is never changed.
type specs struct {
	mu    sync.Mutex
	known map[specKey]weak.Pointer[jobs.Spec]

	reading singleflight.Group // by key: a second reader waits for the first
}

// specKey identifies a specification by its place in the stream of runs.
type specKey struct {
	sequence uint64
	stored   time.Time // the sequences of a recreated stream start at 1
}

func (s *specs) find(key specKey) *jobs.Spec {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[key].Value()
}

// keep notes a specification as long as it is used, and forgets unused ones.
func (s *specs) keep(key specKey, spec *jobs.Spec) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, p := range s.known {
		if p.Value() == nil {
			delete(s.known, k)
		}
	}
	if s.known == nil {
		s.known = map[specKey]weak.Pointer[jobs.Spec]{}
	}
	s.known[key] = weak.Make(spec)
}

// spec reads a specification, once for all simultaneous users.
func (r *Runs) spec(ctx context.Context, m jetstream.Message) (jobs.Record, error) {
	key := specKey{m.Seq, m.Time}
	if spec := r.specs.find(key); spec != nil {
		return jobs.Record{Spec: spec}, nil
	}
	v, err, shared := r.specs.reading.Do(fmt.Sprint(key), func() (any, error) {
		if spec := r.specs.find(key); spec != nil { // read since
			return jobs.Record{Spec: spec}, nil
		}
		rec, err := r.record(ctx, m)
		if err == nil && rec.Spec != nil {
			r.specs.keep(key, rec.Spec)
		}
		return rec, err
	})
	if err != nil && shared && ctx.Err() == nil {
		return r.record(ctx, m) // the error may be the end of the other reader's context
	}
	rec, _ := v.(jobs.Record)
	return rec, err
}
