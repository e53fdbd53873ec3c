package kv

import (
	"context"
	"errors"
	"time"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/topology"
	"github.com/modpipe/modpipe/jobs"
)

// expiry finds entries of the registry that have expired. The server does not tell.
// An entry has expired when TTL has passed on this process's clock since it was last
// seen, and when the leader then answers that it is absent.
type expiry struct {
	r       *Registry
	every   time.Duration // between two checks
	checked time.Time
	seen    map[string]time.Time // by worker: when the last entry arrived
}

// note notes a change that arrives.
func (x *expiry) note(c Change) {
	switch {
	case c.Began:
		clear(x.seen)
	case c.Synced, c.Beat:
	case c.Gone:
		delete(x.seen, c.Worker.Name)
	default:
		x.seen[c.Worker.Name] = c.At
	}
}

// confirmWithin bounds the question whether one entry has expired.
const confirmWithin = time.Second

// check sends the entries that have expired.
func (x *expiry) check(ctx context.Context, out chan<- Change) error {
	now := time.Now()
	if now.Sub(x.checked) < x.every {
		return nil
	}
	x.checked = now
	for name, seen := range x.seen {
		if now.Sub(seen) <= x.r.TTL() || !x.absent(ctx, name) {
			continue
		}
		delete(x.seen, name)
		gone := Change{Worker: jobs.WorkerInfo{Name: name}, Gone: true, At: time.Now()}
		if err := send(ctx, out, gone); err != nil {
			return err
		}
	}
	return nil
}

// absent reports whether the leader has no entry of a worker. It asks again at the next
// check when there is no answer.
func (x *expiry) absent(ctx context.Context, name string) bool {
	ctx, cancel := context.WithTimeout(ctx, confirmWithin)
	defer cancel()
	_, err := x.r.bucket.Last(ctx, topology.WorkerKey(name))
	return errors.Is(err, jetstream.ErrNotFound)
}
