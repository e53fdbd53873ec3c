package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/modpipe/modpipe/jobs"
)

// Bucket is a KV bucket, for package kv: bytes under keys, with revisions.
// The layout is that of every NATS client, so that the nats CLI reads it.
type Bucket struct {
	c   *Conn
	cfg BucketConfig
}

// BucketEntry is a key's newest state.
type BucketEntry struct {
	Key      string
	Value    []byte
	Revision uint64
	Time     time.Time
	Gone     bool  // a delete, or the end of an entry by age
	Expired  bool  // Gone by age
	Unread   error // why Value cannot be decompressed
	Synced   bool  // no entry: everything that was there when the watch began has been sent
	Begun    bool  // no entry: the watch starts or restarts, and sends everything
	Beat     bool  // no entry: the server says that everything has been sent; by WatchClosely only
}

// Headers of a bucket's messages.
const (
	headerOperation = "KV-Operation"
	headerMarker    = "Nats-Marker-Reason"
	headerTTL       = "Nats-TTL"
)

// OpenBucket opens a bucket, or makes it as cfg says; the TTL of one that is
// there stays as it is.
func (c *Conn) OpenBucket(ctx context.Context, cfg BucketConfig) (*Bucket, error) {
	b := &Bucket{c, cfg}
	have, err := c.ensureStream(ctx, c.bucketStream(cfg))
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", b.Name(), err)
	}
	b.cfg.TTL, b.cfg.MarkerTTL = have.MaxAge, have.SubjectDeleteMarkerTTL
	return b, nil
}

// FindBucket opens a bucket that is there; ErrNotFound.
func (c *Conn) FindBucket(ctx context.Context, kind string) (*Bucket, error) {
	b := &Bucket{c, BucketConfig{Kind: kind}}
	have, err := c.streamInfo(ctx, b.stream())
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", b.Name(), err)
	}
	b.cfg.Memory, b.cfg.TTL, b.cfg.MarkerTTL = have.Config.Storage == jetstream.MemoryStorage, have.Config.MaxAge, have.Config.SubjectDeleteMarkerTTL
	return b, nil
}

// Name is the name of the bucket.
func (b *Bucket) Name() string { return b.c.names.bucket(b.cfg.Kind) }

// TTL is the age at which entries go; 0 = never.
func (b *Bucket) TTL() time.Duration { return b.cfg.TTL }

// Settle is Settle of the bucket's connection.
func (b *Bucket) Settle() { b.c.Settle() }

// Created is when the bucket was made, by the clock of the server.
func (b *Bucket) Created(ctx context.Context) (time.Time, error) {
	info, err := b.c.streamInfo(ctx, b.stream())
	if err != nil {
		return time.Time{}, fmt.Errorf("look at bucket %s: %w", b.Name(), err)
	}
	return info.Created, nil
}

func (b *Bucket) stream() string            { return "KV_" + b.Name() }
func (b *Bucket) subject(key string) string { return "$KV." + b.Name() + "." + key }

// Put writes a value, whatever was there, and returns its revision. It makes
// the bucket again when the server has lost it, and repeats while ctx lasts.
func (b *Bucket) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	return b.write(ctx, &nats.Msg{Subject: b.subject(key), Data: value})
}

// Update writes a value where the key's last revision is the given one (0 =
// it was never there). ErrConflict, also when an unanswered first try of this
// call has been stored: the caller reads.
func (b *Bucket) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	m := &nats.Msg{Subject: b.subject(key), Data: value}
	expectLast(m, revision)
	return b.write(ctx, m)
}

// Delete removes a key.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	m := b.deletion(key)
	_, err := b.write(ctx, m)
	return err
}

// DeleteAt removes a key whose last revision is the given one; ErrConflict.
func (b *Bucket) DeleteAt(ctx context.Context, key string, revision uint64) error {
	m := b.deletion(key)
	expectLast(m, revision)
	_, err := b.write(ctx, m)
	return err
}

// deletion removes a key. Where entries go by age its mark goes with them; else
// it has an age of its own, so that keys which are used once leave nothing.
func (b *Bucket) deletion(key string) *nats.Msg {
	m := &nats.Msg{Subject: b.subject(key)}
	set(m, headerOperation, "DEL")
	if b.cfg.TTL == 0 && b.cfg.MarkerTTL > 0 {
		set(m, headerTTL, b.cfg.MarkerTTL.String())
	}
	return m
}

func (b *Bucket) write(ctx context.Context, m *nats.Msg) (uint64, error) {
	if len(m.Data) > compressAbove {
		if err := compress(m); err != nil {
			return 0, err
		}
	}
	revision, err := keep(ctx, b.c, waits, b.stream(), func(ctx context.Context) (uint64, error) {
		revision, err := b.c.store(ctx, m)
		if errors.Is(err, errNotReady) {
			err = errors.Join(err, b.remake(ctx))
		}
		return revision, err
	})
	if err != nil {
		return 0, fmt.Errorf("write to %s: %w", m.Subject, err)
	}
	return revision, nil
}

// remake makes the bucket again after a server has lost it, as it was.
func (b *Bucket) remake(ctx context.Context) error {
	if missing, _ := b.c.lookFor(ctx, b.stream()); !missing {
		return nil
	}
	_, err := b.c.ensureStream(ctx, b.c.bucketStream(b.cfg))
	return err
}

// Last reads a key. What is gone by deletion or age is ErrNotFound, with the
// entry's revision in what is returned: that is what an Update expects.
func (b *Bucket) Last(ctx context.Context, key string) (BucketEntry, error) {
	l, err := b.c.last(ctx, b.stream(), b.subject(key))
	if err != nil {
		return BucketEntry{Key: key}, err
	}
	e := b.entry(l)
	if e.Gone {
		return e, fmt.Errorf("%s: %w", l.msg.Subject, ErrNotFound)
	}
	return e, nil
}

func (b *Bucket) entry(l located) BucketEntry {
	e := BucketEntry{Key: l.msg.Subject[len(b.subject("")):], Value: l.msg.Data, Revision: l.seq, Time: l.time}
	if l.msg.Header == nil {
		return e
	}
	e.Value, e.Unread = decompress(l.msg.Header.Get(headerEncoding), l.msg.Data, jobs.MaxSmall)
	operation, marker := l.msg.Header.Get(headerOperation), l.msg.Header.Get(headerMarker)
	e.Gone = operation == "DEL" || operation == "PURGE" || marker != ""
	e.Expired = marker == "MaxAge"
	return e
}

// List reads all keys that are there.
func (b *Bucket) List(ctx context.Context) ([]BucketEntry, error) {
	var entries []BucketEntry
	src := b.source()
	src.begun = func() error {
		entries = nil
		return nil
	}
	err := b.c.readAll(ctx, src, func(l located) error {
		if e := b.entry(l); !e.Gone {
			entries = append(entries, e)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", b.Name(), err)
	}
	return entries, nil
}

// Watch calls f with everything there is and then with every change, until
// ctx ends (then it returns nil) or f fails. After a reconnect, and when the
// bucket was made again, it begins anew.
func (b *Bucket) Watch(ctx context.Context, f func(BucketEntry) error) error {
	return b.watch(ctx, b.source(), f)
}

// WatchClosely is Watch that also calls f so often while nothing changes, and
// begins anew when four times as long nothing is heard of the server.
func (b *Bucket) WatchClosely(ctx context.Context, beat time.Duration, f func(BucketEntry) error) error {
	src := b.source()
	src.beat, src.beaten = beat, func() error { return f(BucketEntry{Beat: true}) }
	return b.watch(ctx, src, f)
}

func (b *Bucket) watch(ctx context.Context, src source, f func(BucketEntry) error) error {
	src.begun = func() error { return f(BucketEntry{Begun: true}) }
	src.caught = func() error { return f(BucketEntry{Synced: true}) }
	if err := b.c.feed(ctx, src, func(l located) error { return f(b.entry(l)) }); err != nil {
		return fmt.Errorf("watch %s: %w", b.Name(), err)
	}
	return nil
}

func (b *Bucket) source() source {
	return source{
		stream: b.stream(), filters: []string{b.subject(">")}, latest: true,
		missing: b.remake,
	}
}
