package kv

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/modpipe/modpipe/internal/ident"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/topology"
	"github.com/modpipe/modpipe/jobs"
)

// Errors of leases.
var (
	ErrHeld   = errors.New("another process holds the lease")
	ErrLapsed = errors.New("the lease has lapsed")
)

const (
	leaseTTL = 3 * time.Second
	// leaseMargin is how much earlier than the server lets anybody else begin
	// a holder stops: the drift of clocks, and the time to stop.
	leaseMargin = 500 * time.Millisecond
)

// Leases is the bucket of leases (mp-leases): which orchestrator decides for a
// run. An entry lives for 3 s unless it is renewed. It keeps two from deciding
// at the same time; that
// a stale holder changes nothing is seen to by the run's log.
type Leases struct{ bucket *jetstream.Bucket }

// OpenLeases opens or makes it.
func OpenLeases(ctx context.Context, c *jetstream.Conn) (*Leases, error) {
	b, err := c.OpenBucket(ctx, jetstream.BucketConfig{Name: topology.Bucket("leases"), TTL: leaseTTL, MarkerTTL: markerTTL})
	if err != nil {
		return nil, err
	}
	return &Leases{b}, nil
}

// TTL is how long an entry lives that is not renewed.
func (l *Leases) TTL() time.Duration { return cmp.Or(l.bucket.TTL(), leaseTTL) }

// Holder reads the holder of a lease; jetstream.ErrNotFound without one.
func (l *Leases) Holder(ctx context.Context, key string) (jobs.Lease, error) {
	if unknownRun(key) {
		return jobs.Lease{Holder: key}, nil // its holder renews it
	}
	e, err := l.bucket.Last(ctx, key)
	if err != nil {
		return jobs.Lease{}, err
	}
	return holder(e), nil
}

// holder decodes an entry. One that cannot be read has a holder all the same.
func holder(e jetstream.BucketEntry) jobs.Lease {
	h, err := decode[jobs.Lease](e)
	if err != nil {
		h.Holder, h.Unread = "an orchestrator of another version", true
	}
	return h
}

// Holders reads the holders of all leases, and creates nothing: without a
// bucket there are none.
func Holders(ctx context.Context, c *jetstream.Conn) (map[string]jobs.Lease, error) {
	b, err := c.FindBucket(ctx, topology.Bucket("leases"))
	if errors.Is(err, jetstream.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	entries, err := b.List(ctx)
	if err != nil {
		return nil, err
	}
	holders := make(map[string]jobs.Lease, len(entries))
	for _, e := range entries {
		holders[e.Key] = holder(e)
	}
	return holders, nil
}

// Lease is one that was acquired. Keep must be running while its holder acts.
type Lease struct {
	leases *Leases
	key    string
	turn   chan struct{} // holds one token while a goroutine writes the entry

	mu       sync.Mutex
	value    jobs.Lease
	revision uint64
	until    time.Time // we may act, on our own clock
}

// Acquire takes the lease of a key, a run's id for example, unless another
// process has it: ErrHeld, with the holder's name in the text.
func (l *Leases) Acquire(ctx context.Context, key, name string) (*Lease, error) {
	lease := &Lease{leases: l, key: key, turn: make(chan struct{}, 1), value: jobs.Lease{Holder: name, Instance: ident.New()}}
	for {
		last, err := l.bucket.Last(ctx, key)
		switch {
		case err == nil:
			if h := holder(last); h.Instance != lease.value.Instance { // not our own write, whose answer was lost
				return nil, fmt.Errorf("%s: %w: %s", key, ErrHeld, h.Holder)
			}
		case !errors.Is(err, jetstream.ErrNotFound):
			return nil, fmt.Errorf("read the lease of %s: %w", key, err)
		}
		err = lease.write(ctx, last.Revision)
		if err == nil {
			return lease, nil
		}
		if !errors.Is(err, jetstream.ErrConflict) {
			return nil, fmt.Errorf("take the lease of %s: %w", key, err)
		}
	}
}

// write enters the lease where the entry's last revision is the given one.
func (l *Lease) write(ctx context.Context, revision uint64) error {
	l.mu.Lock()
	value := l.value
	l.mu.Unlock()
	text, err := jobs.Marshal(&value)
	if err != nil {
		return err
	}
	sent := time.Now()
	revision, err = l.leases.bucket.Update(ctx, l.key, text, revision)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.revision, l.until = revision, sent.Add(l.leases.TTL()-leaseMargin)
	return nil
}

// Epoch is the epoch that the entry tells, 0 before SetEpoch.
func (l *Lease) Epoch() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.value.Epoch
}

// SetEpoch has the entry tell the epoch from its next renewal on.
func (l *Lease) SetEpoch(epoch uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.value.Epoch = epoch
}

// SetProblem has the entry say from its next renewal on that its holder does
// not act, and why.
func (l *Lease) SetProblem(why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.value.Problem = strings.ToValidUTF8(why[:min(len(why), mostProblem)], "")
}

// mostProblem is how many bytes of a problem an entry holds.
const mostProblem = 1 << 10

// SetFull has the entry tell from its next renewal on whether its holder takes
// no more runs.
func (l *Lease) SetFull(full bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.value.Full = full
}

// Until is when the holder must have stopped, on its own clock, unless the
// lease is renewed.
func (l *Lease) Until() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.until
}

// Keep renews the lease until ctx ends; then it returns nil. ErrLapsed says
// that its holder must not act any more: nothing was acknowledged for the time
// to live less a margin, or another process has it.
func (l *Lease) Keep(ctx context.Context) error {
	every := l.leases.TTL() / 3
	for renewed := 0; ; renewed++ {
		if renewed > 1 { // an orchestrator that decides for so long is at work
			l.leases.bucket.Settle()
		}
		renewing, cancel := context.WithDeadline(ctx, l.Until())
		err := l.Renew(renewing)
		cancel()
		if err != nil {
			return ended(ctx, fmt.Errorf("lease of %s: %w: %w", l.key, ErrLapsed, err))
		}
		t := time.NewTimer(every)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
	}
}

// Renew writes the entry again. One that is gone, because it has expired, or
// early by a jump of the server's clock, is made again, so a lease that has
// lapsed is taken again unless another process has it: ErrHeld. What was decided
// under it before does not count any more: others may have had it in between.
func (l *Lease) Renew(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	l.mu.Lock()
	revision := l.revision
	l.mu.Unlock()
	for {
		err := l.write(ctx, revision)
		if !errors.Is(err, jetstream.ErrConflict) {
			return err
		}
		last, err := l.leases.bucket.Last(ctx, l.key)
		switch {
		case errors.Is(err, jetstream.ErrNotFound):
		case err != nil:
			return err
		case holder(last).Instance != l.value.Instance:
			return fmt.Errorf("%w: %s", ErrHeld, holder(last).Holder)
		}
		revision = last.Revision
	}
}

// Release gives the lease back immediately, if it is still ours. A renewal that
// was under way when Keep was told to end may be stored in between: then the
// entry has changed, and is ours all the same.
func (l *Lease) Release(ctx context.Context) error {
	for {
		last, err := l.leases.bucket.Last(ctx, l.key)
		if errors.Is(err, jetstream.ErrNotFound) || err == nil && holder(last).Instance != l.value.Instance {
			return nil
		}
		if err == nil {
			err = l.leases.bucket.DeleteAt(ctx, l.key, last.Revision)
		}
		if err == nil {
			return nil
		}
		if !errors.Is(err, jetstream.ErrConflict) {
			return fmt.Errorf("give the lease of %s back: %w", l.key, err)
		}
	}
}

// LeaseChange is one thing heard of the leases; Began and Synced as in Change.
type LeaseChange struct {
	Key     string
	Lease   jobs.Lease
	Gone    bool // given back, or Expired
	Expired bool
	Began   bool
	Synced  bool
}

// Watch sends changes in order until ctx ends (then it returns nil); it restarts
// by itself after reconnects.
func (l *Leases) Watch(ctx context.Context, out chan<- LeaseChange) error {
	return ended(ctx, l.bucket.Watch(ctx, func(e jetstream.BucketEntry) error {
		c := LeaseChange{Key: e.Key, Gone: e.Gone, Expired: e.Expired, Began: e.Begun, Synced: e.Synced}
		if !e.Gone && !e.Begun && !e.Synced {
			c.Lease = holder(e)
		}
		return send(ctx, out, c)
	}))
}

// AwaitFree returns when the lease of a key is free: immediately, or when an
// entry that is there is given back or expires. ErrHeld when it is renewed.
func (l *Leases) AwaitFree(ctx context.Context, key string) error {
	seen := false
	err := l.bucket.Watch(ctx, func(e jetstream.BucketEntry) error {
		switch {
		case e.Begun:
			seen = false // what is sent again is no renewal
		case e.Synced && !seen, e.Key == key && e.Gone:
			return errFree
		case e.Key == key && seen:
			return fmt.Errorf("%s: %w: %s", key, ErrHeld, holder(e).Holder)
		case e.Key == key:
			seen = true
		}
		return nil
	})
	if errors.Is(err, errFree) {
		return nil
	}
	return cmp.Or(err, context.Cause(ctx))
}

var errFree = errors.New("free")
