package jetstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Bucket is a KV bucket: bytes under keys, with revisions. Its layout is the usual
// one, so that the nats CLI can read it.
type Bucket struct {
	c      *Conn
	cfg    BucketConfig
	joined bool
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

// BucketConfig configures a bucket.
type BucketConfig struct {
	Name      string
	Memory    bool          // in memory: a restart of the server removes it
	TTL       time.Duration // of every entry; 0 = none
	MarkerTTL time.Duration // at least 1 s: watchers receive the expiry of an entry
	MaxBytes  int64         // of all entries; 0 = no limit
	Optional  bool          // a write fails while there is no room (ErrFull); else it waits
	Shared    bool          // who may write a key may not erase others; such a bucket has no markers
}

// mostEntry is the largest value that is decompressed, in bytes.
const mostEntry = 1 << 20

// BucketStream returns the stream of a bucket, as OpenBucket creates it.
func BucketStream(cfg BucketConfig) jetstream.StreamConfig {
	duplicates := 2 * time.Minute
	if cfg.TTL > 0 {
		duplicates = min(duplicates, cfg.TTL)
	}
	storage := jetstream.FileStorage
	if cfg.Memory {
		storage = jetstream.MemoryStorage
	}
	return jetstream.StreamConfig{
		Name: "KV_" + cfg.Name, Subjects: []string{"$KV." + cfg.Name + ".>"}, Storage: storage,
		MaxMsgsPerSubject: 1, MaxMsgs: -1, MaxBytes: cmp.Or(cfg.MaxBytes, -1), MaxMsgSize: -1, MaxConsumers: maxConsumers, MaxAge: cfg.TTL,
		Discard: jetstream.DiscardNew, AllowRollup: !cfg.Shared, DenyDelete: true, AllowDirect: true, Duplicates: duplicates,
		AllowMsgTTL: cfg.MarkerTTL > 0, SubjectDeleteMarkerTTL: cfg.MarkerTTL,
	}
}

// OpenBucket opens a bucket, or creates it as cfg describes. An existing bucket
// keeps its TTL.
func (c *Conn) OpenBucket(ctx context.Context, cfg BucketConfig) (*Bucket, error) {
	b := &Bucket{c: c, cfg: cfg}
	have, err := c.ensureStream(ctx, c.placed(BucketStream(cfg)))
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", b.Name(), err)
	}
	b.cfg.TTL, b.cfg.MarkerTTL = have.MaxAge, have.SubjectDeleteMarkerTTL
	return b, nil
}

// FindBucket opens an existing bucket, or returns ErrNotFound.
func (c *Conn) FindBucket(ctx context.Context, name string) (*Bucket, error) {
	b := &Bucket{c: c, cfg: BucketConfig{Name: name}}
	have, err := c.StreamInfo(ctx, b.stream())
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", b.Name(), err)
	}
	b.cfg.Memory, b.cfg.TTL, b.cfg.MarkerTTL = have.Config.Storage == jetstream.MemoryStorage, have.Config.MaxAge, have.Config.SubjectDeleteMarkerTTL
	return b, nil
}

// JoinBucket is FindBucket for a user who may not create the bucket, nor read
// anything but the newest entries of single keys.
//
// It returns ErrForeign for a bucket that is not as OpenBucket creates it.
func (c *Conn) JoinBucket(ctx context.Context, cfg BucketConfig) (*Bucket, error) {
	b := &Bucket{c: c, cfg: cfg, joined: true}
	have, err := c.StreamInfo(ctx, b.stream())
	if err == nil {
		want := BucketStream(cfg)
		err = foreign(&want, &have.Config)
	}
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", b.Name(), err)
	}
	b.cfg.TTL, b.cfg.MarkerTTL = have.Config.MaxAge, have.Config.SubjectDeleteMarkerTTL
	return b, nil
}

// Name is the name of the bucket.
func (b *Bucket) Name() string { return b.cfg.Name }

// TTL is the age at which entries expire; 0 = never.
func (b *Bucket) TTL() time.Duration { return b.cfg.TTL }

// Settle calls Settle of the bucket's connection.
func (b *Bucket) Settle() { b.c.Settle() }

// Created returns when the bucket was created, by the server's clock.
func (b *Bucket) Created(ctx context.Context) (time.Time, error) {
	info, err := b.c.StreamInfo(ctx, b.stream())
	if err != nil {
		return time.Time{}, fmt.Errorf("read the state of bucket %s: %w", b.Name(), err)
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
	ExpectLast(m, revision)
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
	ExpectLast(m, revision)
	_, err := b.write(ctx, m)
	return err
}

// Purge removes a key and leaves no marker, so that it needs no room, unless the key was
// written after the given revision. It reports whether there was something to remove.
// Watchers do not see it.
func (b *Bucket) Purge(ctx context.Context, key string, revision uint64) (bool, error) {
	n, err := b.c.PurgeBelow(ctx, b.stream(), b.subject(key), revision+1)
	return n > 0, err
}

// deletion returns the message that removes a key. The marker expires, so that keys
// which are used once leave nothing.
func (b *Bucket) deletion(key string) *nats.Msg {
	m := &nats.Msg{Subject: b.subject(key)}
	SetHeader(m, headerOperation, "DEL")
	if b.cfg.MarkerTTL > 0 && (b.cfg.TTL == 0 || b.cfg.MarkerTTL < b.cfg.TTL) {
		SetHeader(m, headerTTL, b.cfg.MarkerTTL.String())
	}
	return m
}

func (b *Bucket) full() FullPolicy {
	if b.cfg.Optional {
		return FailWhenFull
	}
	return WaitWhenFull
}

func (b *Bucket) write(ctx context.Context, m *nats.Msg) (uint64, error) {
	if err := Compress(m); err != nil {
		return 0, err
	}
	revision, err := RetryWhenFull(ctx, b.c, b.full(), b.stream(), func(ctx context.Context) (uint64, error) {
		revision, err := b.c.Store(ctx, m)
		if errors.Is(err, ErrNotReady) {
			err = errors.Join(err, b.recreate(ctx))
		}
		return revision, err
	})
	if err != nil {
		return 0, fmt.Errorf("write to %s: %w", m.Subject, err)
	}
	return revision, nil
}

// recreate recreates the bucket, with the same settings, if the server has lost
// it.
func (b *Bucket) recreate(ctx context.Context) error {
	if b.joined {
		return nil
	}
	if missing, _ := b.c.findStream(ctx, b.stream()); !missing {
		return nil
	}
	_, err := b.c.ensureStream(ctx, b.c.placed(BucketStream(b.cfg)))
	return err
}

// Last reads a key; in a joined bucket it may read a replica that is behind. For a deleted or expired key it returns ErrNotFound and an
// entry with the revision, which an Update expects.
func (b *Bucket) Last(ctx context.Context, key string) (BucketEntry, error) {
	read := b.c.Last
	if b.joined {
		read = b.c.Newest
	}
	l, err := read(ctx, b.stream(), b.subject(key))
	if err != nil {
		return BucketEntry{Key: key}, err
	}
	e := b.entry(l)
	if e.Gone {
		return e, fmt.Errorf("%s: %w", l.Subject, ErrNotFound)
	}
	return e, nil
}

func (b *Bucket) entry(l Message) BucketEntry {
	e := BucketEntry{Key: l.Subject[len(b.subject("")):], Value: l.Data, Revision: l.Seq, Time: l.Time}
	if l.Header == nil {
		return e
	}
	e.Value, e.Unread = Decompress(l.Msg, l.Data, mostEntry)
	operation, marker := l.Header.Get(headerOperation), l.Header.Get(headerMarker)
	e.Gone = operation == "DEL" || operation == "PURGE" || marker != ""
	e.Expired = marker == "MaxAge"
	return e
}
