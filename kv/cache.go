package kv

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/topology"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/jobs"
)

const (
	cacheTTL   = 14 * 24 * time.Hour // of an entry that no run uses
	cacheRenew = 24 * time.Hour      // age at which a hit renews an entry
	cacheBytes = 500 << 20           // limit of all entries
)

// Cache is the bucket of cached results (mp-cache). Its keys are:
//
//	<namespace>.<fingerprint>           an entry
//	<namespace>.<fingerprint>.flight    the attempt that is about to produce it
//	<namespace>.<fingerprint>.tries     how attempts with the fingerprint ended lately
//	<namespace>.index.<hash>            the newest fingerprints of a module of a pipeline
//	<namespace>.dirs.<hash>             the newest keys of cache directories of one name
//	<namespace>.dirs.<hash>.<hash>      where the content of one is
//
// So a permission to write below one namespace covers all that belongs to it.
// Everything expires after 14 days without a write; a hit renews its entry once a
// day. A write fails while the bucket is full: nothing depends on an entry.
type Cache struct{ bucket *jetstream.Bucket }

// OpenCache opens or creates it.
func OpenCache(ctx context.Context, c *jetstream.Conn) (*Cache, error) {
	b, err := c.OpenBucket(ctx, jetstream.BucketConfig{
		Name: streams.Bucket("cache"), TTL: cacheTTL, MarkerTTL: markerTTL, MaxBytes: cacheBytes, Optional: true,
	})
	if err != nil {
		return nil, err
	}
	return &Cache{b}, nil
}

// FindCache opens an existing one, or returns jetstream.ErrNotFound.
func FindCache(ctx context.Context, c *jetstream.Conn) (*Cache, error) {
	b, err := c.FindBucket(ctx, streams.Bucket("cache"))
	if err != nil {
		return nil, err
	}
	return &Cache{b}, nil
}

var fingerprintPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

// cacheKey is the key of an entry. It fails for what cannot name one.
func cacheKey(namespace, fingerprint string) (string, error) {
	if !jobs.ValidNamespace(namespace) {
		return "", fmt.Errorf("%.80q cannot name a namespace of the cache", namespace)
	}
	if !fingerprintPattern.MatchString(fingerprint) {
		return "", fmt.Errorf("%.80q is not a fingerprint", fingerprint)
	}
	return namespace + "." + fingerprint, nil
}

// StoredEntry is an entry with its place in the bucket.
type StoredEntry struct {
	jobs.CacheEntry
	Namespace string
	Used      time.Time // when it was stored or renewed, by the server's clock
	Bytes     int       // of its encoding

	revision uint64
}

// Read reads an entry, or returns jetstream.ErrNotFound. Its other errors say why
// the entry is of no use: it is damaged, of a newer version (jobs.ErrNewer), or of
// another fingerprint.
func (c *Cache) Read(ctx context.Context, namespace, fingerprint string) (StoredEntry, error) {
	key, err := cacheKey(namespace, fingerprint)
	if err != nil {
		return StoredEntry{}, err
	}
	last, err := c.bucket.Last(ctx, key)
	if err != nil {
		return StoredEntry{revision: last.Revision}, err
	}
	return storedEntry(last)
}

func storedEntry(e jetstream.BucketEntry) (StoredEntry, error) {
	namespace, fingerprint, _ := strings.Cut(e.Key, ".")
	found := StoredEntry{Namespace: namespace, Used: e.Time, Bytes: len(e.Value), revision: e.Revision}
	entry, err := decode[jobs.CacheEntry](e)
	if err == nil && entry.Fingerprint != fingerprint {
		err = fmt.Errorf("%w: it is an entry of fingerprint %.80q", jobs.ErrMalformed, entry.Fingerprint)
	}
	if err != nil {
		return found, fmt.Errorf("read cache entry %s: %w", e.Key, err)
	}
	found.CacheEntry = entry
	return found, nil
}

// Store writes an entry. It replaces an older one.
func (c *Cache) Store(ctx context.Context, namespace string, e *jobs.CacheEntry) error {
	key, err := cacheKey(namespace, e.Fingerprint)
	if err != nil {
		return err
	}
	value, err := marshalEntry(e)
	if err != nil {
		return err
	}
	_, err = c.bucket.Put(ctx, key, value)
	return err
}

// marshalEntry leaves the items of parts out when the entry is too large with
// them. They only serve to explain a miss.
func marshalEntry(e *jobs.CacheEntry) ([]byte, error) {
	value, err := jobs.Marshal(e)
	if !errors.Is(err, jobs.ErrTooLarge) && len(value) <= topology.LongestBody {
		return value, err
	}
	short := *e
	short.Parts = make([]jobs.Part, len(e.Parts))
	for i, p := range e.Parts {
		short.Parts[i] = jobs.Part{Name: p.Name, Digest: p.Digest}
	}
	return jobs.Marshal(&short)
}

// Renew writes an entry again as it is, when its last write is a day old, and reports
// whether it did. Another write in between counts as a renewal.
func (c *Cache) Renew(ctx context.Context, e StoredEntry, now time.Time) (bool, error) {
	if now.Sub(e.Used) < cacheRenew {
		return false, nil
	}
	key, err := cacheKey(e.Namespace, e.Fingerprint)
	if err != nil {
		return false, err
	}
	value, err := jobs.Marshal(&e.CacheEntry)
	if err != nil {
		return false, err
	}
	_, err = c.bucket.Update(ctx, key, value, e.revision)
	if errors.Is(err, jetstream.ErrConflict) {
		return true, nil
	}
	return err == nil, err
}

// indexKey is a hash, because names of pipelines and modules are free text.
func indexKey(namespace, pipeline, module string) string {
	sum := sha256.Sum256([]byte(pipeline + "\x00" + module))
	return namespace + ".index." + hex.EncodeToString(sum[:16])
}

// Index reads the newest fingerprints of a module of a pipeline. Without any the
// result is empty.
func (c *Cache) Index(ctx context.Context, namespace, pipeline, module string) (jobs.CacheIndex, error) {
	x, _, err := c.index(ctx, namespace, pipeline, module)
	return x, err
}

func (c *Cache) index(ctx context.Context, namespace, pipeline, module string) (jobs.CacheIndex, uint64, error) {
	empty := jobs.CacheIndex{Pipeline: pipeline, Module: module}
	if !jobs.ValidNamespace(namespace) {
		return empty, 0, fmt.Errorf("%.80q cannot name a namespace of the cache", namespace)
	}
	last, err := c.bucket.Last(ctx, indexKey(namespace, pipeline, module))
	if errors.Is(err, jetstream.ErrNotFound) {
		return empty, last.Revision, nil
	}
	if err != nil {
		return empty, 0, err
	}
	x, err := decode[jobs.CacheIndex](last)
	if err != nil || x.Pipeline != pipeline || x.Module != module {
		return empty, last.Revision, nil //nolint:nilerr // an index that cannot be read is replaced
	}
	return x, last.Revision, nil
}

// AddToIndex notes that a module of a pipeline has had a fingerprint.
func (c *Cache) AddToIndex(ctx context.Context, namespace, pipeline, module, fingerprint string, now time.Time) error {
	for {
		x, revision, err := c.index(ctx, namespace, pipeline, module)
		if err != nil {
			return err
		}
		if !x.Add(fingerprint, now) {
			return nil
		}
		value, err := jobs.Marshal(&x)
		if err != nil {
			return err
		}
		_, err = c.bucket.Update(ctx, indexKey(namespace, pipeline, module), value, revision)
		if !errors.Is(err, jetstream.ErrConflict) {
			return err
		}
	}
}

// Tries reads how attempts with a fingerprint ended within the last two weeks.
// Without any the result is empty.
func (c *Cache) Tries(ctx context.Context, namespace, fingerprint string) (jobs.Attempted, error) {
	key, err := cacheKey(namespace, fingerprint)
	if err != nil {
		return jobs.Attempted{}, err
	}
	last, err := c.bucket.Last(ctx, key+".tries")
	if errors.Is(err, jetstream.ErrNotFound) {
		return jobs.Attempted{}, nil
	}
	if err != nil {
		return jobs.Attempted{}, err
	}
	return decode[jobs.Attempted](last)
}

// SetTries writes how attempts with a fingerprint ended. Of two writers at the same
// time the last one counts.
func (c *Cache) SetTries(ctx context.Context, namespace, fingerprint string, tries jobs.Attempted) error {
	key, err := cacheKey(namespace, fingerprint)
	if err != nil {
		return err
	}
	value, err := jobs.Marshal(&tries)
	if err != nil {
		return err
	}
	_, err = c.bucket.Put(ctx, key+".tries", value)
	return err
}
