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
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/jobs"
)

// Errors of leases.
var (
	ErrHeld   = errors.New("another process holds the lease")
	ErrLapsed = errors.New("the lease has lapsed")
)

const (
	leaseTTL = 3 * time.Second
	// leaseMargin is the time between a holder's stop and the expiry of its lease. It
	// covers the drift of clocks and the time to stop.
	leaseMargin = 500 * time.Millisecond
)

// Leases is the bucket of leases (mp-leases): which orchestrator decides for a
// run. An entry lives for 3 s unless it is renewed. It keeps two orchestrators from
// deciding at the same time; the run's log refuses the writes of a stale holder.
type Leases struct{ bucket *jetstream.Bucket }

// OpenLeases opens or creates it.
func OpenLeases(ctx context.Context, c *jetstream.Conn) (*Leases, error) {
	b, err := c.OpenBucket(ctx, jetstream.BucketConfig{Name: streams.Bucket("leases"), TTL: leaseTTL, MarkerTTL: markerTTL})
	if err != nil {
		return nil, err
	}
	return &Leases{b}, nil
}

// TTL is how long an entry lives without renewal.
func (l *Leases) TTL() time.Duration { return cmp.Or(l.bucket.TTL(), leaseTTL) }

// Holder reads the holder of a lease; jetstream.ErrNotFound without one.
func (l *Leases) Holder(ctx context.Context, key string) (jobs.RunLease, error) {
	if unknownRun(key) {
		return jobs.RunLease{Holder: key}, nil // its holder renews it
	}
	e, err := l.bucket.Last(ctx, key)
	if err != nil {
		return jobs.RunLease{}, err
	}
	return holder(e), nil
}

// holder decodes an entry. An unreadable entry also has a holder.
func holder(e jetstream.BucketEntry) jobs.RunLease {
	h, err := decode[jobs.RunLease](e)
	if err != nil {
		h.Holder, h.Unread = "an orchestrator of another version", true
	}
	return h
}

// Holders reads the holders of all leases. Without a bucket it returns none. It does
// not create the bucket.
func Holders(ctx context.Context, c *jetstream.Conn) (map[string]jobs.RunLease, error) {
	b, err := c.FindBucket(ctx, streams.Bucket("leases"))
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
	holders := make(map[string]jobs.RunLease, len(entries))
	for _, e := range entries {
		holders[e.Key] = holder(e)
	}
	return holders, nil
}

// RunLease is an acquired lease. Keep must be running while its holder acts.
type RunLease struct {
	leases *Leases
	key    string
	turn   chan struct{} // holds one token while a goroutine writes the entry

	mu       sync.Mutex
	value    jobs.RunLease
	revision uint64
	until    time.Time // end of the lease, on our own clock
}

// Acquire takes the lease of a key, a run's id for example, unless another
// process has it: ErrHeld, and the text names the holder.
func (l *Leases) Acquire(ctx context.Context, key, name string) (*RunLease, error) {
	lease := &RunLease{leases: l, key: key, turn: make(chan struct{}, 1), value: jobs.RunLease{Holder: name, Instance: ident.New()}}
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
func (l *RunLease) write(ctx context.Context, revision uint64) error {
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

// Epoch is the epoch in the entry, 0 before SetEpoch.
func (l *RunLease) Epoch() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.value.Epoch
}

// SetEpoch puts the epoch into the entry, at its next renewal.
func (l *RunLease) SetEpoch(epoch uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.value.Epoch = epoch
}

// SetProblem writes into the entry why its holder does not act, at its next renewal.
func (l *RunLease) SetProblem(why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.value.Problem = strings.ToValidUTF8(why[:min(len(why), mostProblem)], "")
}

// mostProblem bounds the text of a problem, in bytes.
const mostProblem = 1 << 10

// SetFull writes into the entry whether its holder takes no more runs, at its next
// renewal.
func (l *RunLease) SetFull(full bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.value.Full = full
}

// SetKeys writes into the entry of an orchestrator that serves which signing keys it
// has, by their ids, at its next renewal.
func (l *RunLease) SetKeys(ids []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.value.Keys = ids
}

// Until is when the holder must have stopped, on its own clock, unless the
// lease is renewed.
func (l *RunLease) Until() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.until
}

// Keep renews the lease until ctx ends; then it returns nil. After ErrLapsed the
// holder must not act any more: no renewal was acknowledged for the time to live
// less a margin, or another process has the lease.
func (l *RunLease) Keep(ctx context.Context) error {
	every := l.leases.TTL() / 3
	for renewed := 0; ; renewed++ {
		if renewed > 1 { // the orchestrator has begun its work
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

// Renew writes the entry again. It recreates an entry that has expired, or that a
// jump of the server's clock has removed early. So it takes a lapsed lease again,
// unless another process has it: ErrHeld. Earlier decisions under a lapsed lease do
// not count, because another process may have had it in between.
func (l *RunLease) Renew(ctx context.Context) error {
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

// Release gives the lease back immediately, unless another process has it. A renewal
// that was under way when Keep ended may be stored in between: then the entry has
// changed, and is removed as well.
func (l *RunLease) Release(ctx context.Context) error {
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
			return fmt.Errorf("release the lease of %s: %w", l.key, err)
		}
	}
}

// LeaseChange is one change of the leases; Began and Synced as in Change.
type LeaseChange struct {
	Key     string
	Lease   jobs.RunLease
	Gone    bool // given back, or Expired
	Expired bool
	Began   bool
	Synced  bool
}

// Watch sends changes in order until ctx ends (then it returns nil). It restarts
// after reconnects.
func (l *Leases) Watch(ctx context.Context, out chan<- LeaseChange) error {
	return ended(ctx, l.bucket.Watch(ctx, func(e jetstream.BucketEntry) error {
		c := LeaseChange{Key: e.Key, Gone: e.Gone, Expired: e.Expired, Began: e.Begun, Synced: e.Synced}
		if !e.Gone && !e.Begun && !e.Synced {
			c.Lease = holder(e)
		}
		return send(ctx, out, c)
	}))
}

// AwaitFree returns when the lease of a key is free: immediately, or when its
// entry is released or expires. It returns ErrHeld when the lease is renewed.
func (l *Leases) AwaitFree(ctx context.Context, key string) error {
	seen := false
	err := l.bucket.Watch(ctx, func(e jetstream.BucketEntry) error {
		switch {
		case e.Begun:
			seen = false // an entry that is sent again was not renewed
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
