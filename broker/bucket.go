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

// Bucket is a KV bucket, for package kv: bytes under keys, with revisions. Its
// layout is the usual one, so that the nats CLI can read it.
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
	Synced   bool  // no entry: all entries that existed when the watch began have been sent
	Begun    bool  // no entry: the watch starts or restarts, and sends all entries
	Beat     bool  // no entry: the server reports that all changes have been sent; by WatchClosely only
}

// Headers of a bucket's messages.
const (
	headerOperation = "KV-Operation"
	headerMarker    = "Nats-Marker-Reason"
	headerTTL       = "Nats-TTL"
)

// OpenBucket opens a bucket, or creates it as cfg describes. An existing bucket
// keeps its TTL.
func (c *Conn) OpenBucket(ctx context.Context, cfg BucketConfig) (*Bucket, error) {
	b := &Bucket{c, cfg}
	have, err := c.ensureStream(ctx, c.bucketStream(cfg))
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", b.Name(), err)
	}
	b.cfg.TTL, b.cfg.MarkerTTL = have.MaxAge, have.SubjectDeleteMarkerTTL
	return b, nil
}

// FindBucket opens an existing bucket, or returns ErrNotFound.
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

// TTL is the age at which entries expire; 0 = never.
func (b *Bucket) TTL() time.Duration { return b.cfg.TTL }

// Settle calls Settle of the bucket's connection.
func (b *Bucket) Settle() { b.c.Settle() }

// Created returns when the bucket was created, by the server's clock.
func (b *Bucket) Created(ctx context.Context) (time.Time, error) {
	info, err := b.c.streamInfo(ctx, b.stream())
	if err != nil {
		return time.Time{}, fmt.Errorf("look at bucket %s: %w", b.Name(), err)
	}
	return info.Created, nil
}

func (b *Bucket) stream() string            { return "KV_" + b.Name() }
func (b *Bucket) subject(key string) string { return "$KV." + b.Name() + "." + key }

// Put writes a value, overwriting any other, and returns its revision. It
// recreates the bucket when the server has lost it, and retries until ctx ends.
func (b *Bucket) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	return b.write(ctx, &nats.Msg{Subject: b.subject(key), Data: value})
}

// Update writes a value if the key's last revision is the given one (0 = the
// key never existed). It returns ErrConflict otherwise, and also when an
// unanswered first attempt of the same call was stored: then the caller reads.
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

// DeleteAt removes a key if its last revision is the given one, and returns
// ErrConflict otherwise.
func (b *Bucket) DeleteAt(ctx context.Context, key string, revision uint64) error {
	m := b.deletion(key)
	expectLast(m, revision)
	_, err := b.write(ctx, m)
	return err
}

// deletion returns the message that removes a key. Where entries do not expire,
// the marker does, so that keys which are used once leave nothing.
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

// remake recreates the bucket, with the same settings, if the server has lost
// it.
func (b *Bucket) remake(ctx context.Context) error {
	if missing, _ := b.c.lookFor(ctx, b.stream()); !missing {
		return nil
	}
	_, err := b.c.ensureStream(ctx, b.c.bucketStream(b.cfg))
	return err
}

// Last reads a key. For a deleted or expired key it returns ErrNotFound and an
// entry with the revision, which an Update expects.
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

// List reads all existing keys.
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

// Watch calls f with every entry and then with every change, until ctx ends
// (then it returns nil) or f fails. It restarts after a reconnect, and when the
// bucket was recreated.
func (b *Bucket) Watch(ctx context.Context, f func(BucketEntry) error) error {
	return b.watch(ctx, b.source(), f)
}

// WatchClosely is Watch that also calls f once per beat while nothing changes,
// and restarts when the server is silent for four beats.
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
