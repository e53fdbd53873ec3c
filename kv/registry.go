package kv

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/topology"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/jobs"
)

// ErrTaken reports that a live worker has this name.
var ErrTaken = errors.New("a live worker has this name")

const (
	defaultTTL = 3 * time.Second
	markerTTL  = time.Minute // how long an expired entry leaves a marker; watchers are notified immediately
)

// Registry is the bucket of workers (mp-workers).
type Registry struct {
	bucket *jetstream.Bucket

	mu  sync.Mutex
	own map[string]mine // by name: the entries that this process has written
}

// mine is an entry that this process has written, as far as it knows.
type mine struct {
	incarnation string
	revision    uint64
}

// OpenRegistry opens or creates it. ttl counts only when it is created (0 = 3 s).
func OpenRegistry(ctx context.Context, c *jetstream.Conn, ttl time.Duration) (*Registry, error) {
	b, err := c.OpenBucket(ctx, registryBucket(ttl))
	if err != nil {
		return nil, err
	}
	return &Registry{bucket: b, own: map[string]mine{}}, nil
}

// registryBucket has no markers of expired entries, because those would let every worker
// erase the whole registry. Watch finds out what has expired.
func registryBucket(ttl time.Duration) jetstream.BucketConfig {
	return jetstream.BucketConfig{Name: streams.Bucket("workers"), Memory: true, TTL: cmp.Or(ttl, defaultTTL), Shared: true}
}

// JoinRegistry opens the registry for a worker, or returns ErrNotFound.
func JoinRegistry(ctx context.Context, c *jetstream.Conn) (*Registry, error) {
	b, err := c.JoinBucket(ctx, registryBucket(0))
	if err != nil {
		return nil, err
	}
	return &Registry{bucket: b, own: map[string]mine{}}, nil
}

// ErrOther reports a registry that was created again with other settings: a worker must
// not renew its entry there, because observers conclude its loss at another time.
var ErrOther = errors.New("the registry of workers was created again with another time to live: start this worker again")

// Check returns an error unless the registry is still the one that was joined, or one with
// the same settings.
func (r *Registry) Check(ctx context.Context) error {
	b, err := r.bucket.Conn().JoinBucket(ctx, registryBucket(r.TTL()))
	if err == nil && b.TTL() != r.TTL() {
		err = fmt.Errorf("%w: %v instead of %v", ErrOther, b.TTL(), r.TTL())
	}
	return err
}

// Workers reads the live workers of a NATS, by name. Without a registry it returns
// none. It does not create the registry.
func Workers(ctx context.Context, c *jetstream.Conn) ([]jobs.WorkerInfo, error) {
	b, err := c.FindBucket(ctx, streams.Bucket("workers"))
	if errors.Is(err, jetstream.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return (&Registry{bucket: b}).List(ctx)
}

// RegistryMade returns when the registry of a NATS was created, by the clock of the
// server. It is zero without a registry, or when the user may not read it.
func RegistryMade(ctx context.Context, c *jetstream.Conn) (time.Time, error) {
	b, err := c.FindBucket(ctx, streams.Bucket("workers"))
	var made time.Time
	if err == nil {
		made, err = b.Created(ctx)
	}
	if errors.Is(err, jetstream.ErrNotFound) || errors.Is(err, jetstream.ErrDenied) {
		return time.Time{}, nil
	}
	return made, err
}

// TTL is the time after which a silent worker's entry expires.
func (r *Registry) TTL() time.Duration { return r.bucket.TTL() }

// Created returns when the registry was created, by the clock of the server. The
// registry is in memory: it is created again after a restart of the server.
func (r *Registry) Created(ctx context.Context) (time.Time, error) { return r.bucket.Created(ctx) }

// Register writes the first entry of a worker. It returns ErrTaken when another
// incarnation of the name lives.
func (r *Registry) Register(ctx context.Context, w jobs.WorkerInfo) error {
	value, err := encode(&w)
	if err != nil {
		return err
	}
	if err := r.enter(ctx, w, value); err != nil {
		return fmt.Errorf("register worker %s: %w", w.Name, err)
	}
	return nil
}

// enter writes the entry if the name is free, or the entry is the incarnation's own.
func (r *Registry) enter(ctx context.Context, w jobs.WorkerInfo, value []byte) error {
	for {
		last, err := r.bucket.Last(ctx, topology.WorkerKey(w.Name))
		switch {
		case errors.Is(err, jetstream.ErrNotFound):
		case err != nil:
			return err
		default:
			if err := free(last, w); err != nil {
				return err
			}
		}
		err = r.update(ctx, w, value, last.Revision)
		if !errors.Is(err, jetstream.ErrConflict) {
			return err
		} // else the entry has changed in between, or this call has written it
	}
}

func (r *Registry) update(ctx context.Context, w jobs.WorkerInfo, value []byte, revision uint64) error {
	revision, err := r.bucket.Update(ctx, topology.WorkerKey(w.Name), value, revision)
	if err == nil {
		r.mu.Lock()
		r.own[w.Name] = mine{w.Incarnation, revision}
		r.mu.Unlock()
	}
	return err
}

// known returns this process's newest entry of a name.
func (r *Registry) known(name string) (mine, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	own, ok := r.own[name]
	return own, ok
}

// free returns ErrTaken unless w may have the name of an existing entry. An entry
// that does not count takes no name.
func free(e jetstream.BucketEntry, w jobs.WorkerInfo) error {
	if _, ok := worker(e); !ok {
		return nil
	}
	have, err := decode[jobs.WorkerInfo](e)
	if err == nil && have.Incarnation == w.Incarnation {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %s (its entry cannot be read: %w)", ErrTaken, w.Name, err)
	}
	return fmt.Errorf("%w: %s, on %s, since %s", ErrTaken, w.Name, cmp.Or(have.Host, "an unknown host"), have.Started.Format(time.RFC3339))
}

// Beat renews the entry and waits for the acknowledgement. It recreates the bucket
// when the server has lost it. It does not overwrite the entry of another
// incarnation (ErrTaken): a late heartbeat of a dead worker does not replace that of
// its successor.
func (r *Registry) Beat(ctx context.Context, w jobs.WorkerInfo) error {
	value, err := encode(&w)
	if err != nil {
		return err
	}
	own, _ := r.known(w.Name)
	err = r.update(ctx, w, value, own.revision)
	if errors.Is(err, jetstream.ErrConflict) {
		err = r.enter(ctx, w, value)
	}
	if err != nil {
		return fmt.Errorf("renew worker %s: %w", w.Name, err)
	}
	return nil
}

// Leave removes this process's entry, unless another incarnation has written it
// since.
func (r *Registry) Leave(ctx context.Context, name string) error {
	own, ok := r.known(name)
	if !ok {
		return nil
	}
	key := topology.WorkerKey(name)
	err := r.bucket.DeleteAt(ctx, key, own.revision)
	if !errors.Is(err, jetstream.ErrConflict) {
		return err
	}
	last, err := r.bucket.Last(ctx, key)
	if have, _ := worker(last); errors.Is(err, jetstream.ErrNotFound) || err == nil && have.Incarnation != own.incarnation {
		return nil
	}
	if err == nil {
		err = r.bucket.DeleteAt(ctx, key, last.Revision)
	}
	return err
}

// List reads the live workers, by name.
func (r *Registry) List(ctx context.Context) ([]jobs.WorkerInfo, error) {
	entries, err := r.bucket.List(ctx)
	if err != nil {
		return nil, err
	}
	workers := make([]jobs.WorkerInfo, 0, len(entries))
	for _, e := range entries {
		if w, ok := worker(e); ok {
			workers = append(workers, w)
		}
	}
	slices.SortFunc(workers, func(a, b jobs.WorkerInfo) int { return strings.Compare(a.Name, b.Name) })
	return workers, nil
}

// Change is one change of the registry.
type Change struct {
	Worker jobs.WorkerInfo // Name alone when Gone
	Gone   bool            // the entry is absent (left or expired)
	Left   bool            // Gone by Leave, not by age
	Began  bool            // alone: the watch starts or restarts; a worker that is not sent before the next Synced is absent
	Beat   bool            // alone: nothing has changed
	At     time.Time       // when it arrived, by the local clock: everything stored before has been sent
	Synced bool            // alone: all entries that existed when the watch began have been sent; also after every restart (reconnect): the observer's clocks restart
}

// Watch sends changes in order until ctx ends (then it returns nil). It restarts
// after reconnects and when the bucket was recreated. A restart sends all entries,
// and then Synced: a worker without an entry among them is absent. While nothing
// changes it sends a Beat, several times in the time to live: an observer without
// news does not know whether a worker is absent.
func (r *Registry) Watch(ctx context.Context, out chan<- Change) error {
	beat := min(max(r.TTL()/6, leastBeat), mostBeat)
	x := expiry{r: r, every: beat / 2, seen: map[string]time.Time{}}
	return ended(ctx, r.bucket.WatchClosely(ctx, beat, func(e jetstream.BucketEntry) error {
		if c, ok := changeOf(e); ok {
			x.note(c)
			if err := send(ctx, out, c); err != nil {
				return err
			}
		}
		return x.check(ctx, out)
	}))
}

// Bounds of the time between two Beats of a watch.
const (
	leastBeat = 250 * time.Millisecond
	mostBeat  = 400 * time.Millisecond
)

// changeOf returns the change that an entry reports; false when it does not count.
func changeOf(e jetstream.BucketEntry) (c Change, ok bool) {
	c, ok = Change{Began: e.Begun, Synced: e.Synced, Beat: e.Beat, At: time.Now()}, true
	switch {
	case e.Begun, e.Synced, e.Beat:
	case e.Gone:
		c.Gone, c.Left = true, !e.Expired
		c.Worker.Name, ok = topology.ParseWorkerKey(e.Key)
	default:
		c.Worker, ok = worker(e)
	}
	return c, ok
}

func encode(w *jobs.WorkerInfo) ([]byte, error) {
	if !jobs.ValidWorker(w.Name) {
		return nil, fmt.Errorf("%q cannot name a worker", w.Name)
	}
	return jobs.Marshal(w)
}

// worker decodes an entry, which counts only under the key of the worker that it
// describes: who may write the key of a worker speaks for that worker alone. An entry of a newer version shows that the worker of this name
// lives. Every other unreadable entry does not count.
func worker(e jetstream.BucketEntry) (w jobs.WorkerInfo, ok bool) {
	name, ok := topology.ParseWorkerKey(e.Key)
	if !ok {
		return jobs.WorkerInfo{}, false
	}
	w, err := decode[jobs.WorkerInfo](e)
	if err != nil {
		return jobs.WorkerInfo{Name: name}, errors.Is(err, jobs.ErrNewer)
	}
	return w, w.Name == name
}

func send[T any](ctx context.Context, out chan<- T, v T) error {
	select {
	case out <- v:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ended returns nil when ctx has ended, else err.
func ended(ctx context.Context, err error) error {
	select {
	case <-ctx.Done():
		return nil
	default:
		return err
	}
}
