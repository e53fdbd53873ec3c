package kv

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/jobs"
)

// mostDirKey bounds the name and the key of a cache directory, in bytes.
const mostDirKey = 1024

// DirEntry is the entry of a cache directory with its place in the bucket.
type DirEntry struct {
	jobs.CacheDirEntry
	Namespace string
	Used      time.Time // when it was stored or renewed, by the server's clock

	at       string // its key in the bucket
	revision uint64
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

// dirIndexKey is the key of the index of a name. Those of its entries begin with it.
// They are hashes, because names and keys are free text.
func dirIndexKey(namespace, name string) (string, error) {
	if !jobs.ValidNamespace(namespace) {
		return "", fmt.Errorf("%.80q cannot name a namespace of the cache", namespace)
	}
	return namespace + ".dirs." + hashOf(name), nil
}

func dirKey(namespace, name, key string) (string, error) {
	if name == "" || key == "" || len(name) > mostDirKey || len(key) > mostDirKey {
		return "", fmt.Errorf("the key %.80q of cache directory %.80q has 1 to %d bytes", key, name, mostDirKey)
	}
	index, err := dirIndexKey(namespace, name)
	return index + "." + hashOf(key), err
}

// Dir reads the entry of a cache directory, or returns jetstream.ErrNotFound. Its
// other errors say why the entry is of no use.
func (c *Cache) Dir(ctx context.Context, namespace, name, key string) (DirEntry, error) {
	at, err := dirKey(namespace, name, key)
	if err != nil {
		return DirEntry{}, err
	}
	last, err := c.bucket.Last(ctx, at)
	if err != nil {
		return DirEntry{}, err
	}
	return dirEntry(last)
}

// dirEntry reads an entry, which must be where its name and key say.
func dirEntry(last jetstream.BucketEntry) (DirEntry, error) {
	namespace, _, _ := strings.Cut(last.Key, ".")
	e, err := decode[jobs.CacheDirEntry](last)
	if err == nil {
		if at, aerr := dirKey(namespace, e.Name, e.Key); aerr != nil || at != last.Key {
			err = fmt.Errorf("%w: it is the entry of %.80q in %.80q", jobs.ErrMalformed, e.Key, e.Name)
		}
	}
	if err != nil {
		return DirEntry{}, fmt.Errorf("read cache entry %s: %w", last.Key, err)
	}
	return DirEntry{CacheDirEntry: e, Namespace: namespace, Used: last.Time, at: last.Key, revision: last.Revision}, nil
}

// StoreDir writes the entry of a cache directory, and notes its key in the index.
// restore are the beginnings of keys by which its module restores others.
func (c *Cache) StoreDir(ctx context.Context, namespace string, e *jobs.CacheDirEntry, restore []string) error {
	if err := c.putDir(ctx, namespace, e); err != nil {
		return err
	}
	return c.changeDirIndex(ctx, namespace, e.Name, func(x *jobs.CacheDirIndex) {
		x.Add(jobs.RecentDir{Key: e.Key, Restore: restore, When: e.When})
	})
}

// RenewDir writes an entry and the index of its name again, when its last write is a
// day old.
func (c *Cache) RenewDir(ctx context.Context, e DirEntry, now time.Time) error {
	if now.Sub(e.Used) < cacheRenew {
		return nil
	}
	if err := c.putDir(ctx, e.Namespace, &e.CacheDirEntry); err != nil {
		return err
	}
	return c.changeDirIndex(ctx, e.Namespace, e.Name, func(*jobs.CacheDirIndex) {})
}

func (c *Cache) putDir(ctx context.Context, namespace string, e *jobs.CacheDirEntry) error {
	at, err := dirKey(namespace, e.Name, e.Key)
	if err != nil {
		return err
	}
	value, err := jobs.Marshal(e)
	if err != nil {
		return err
	}
	_, err = c.bucket.Put(ctx, at, value)
	return err
}

// DirIndex reads the newest keys of cache directories of one name. Without any the
// result is empty.
func (c *Cache) DirIndex(ctx context.Context, namespace, name string) (jobs.CacheDirIndex, error) {
	x, _, err := c.dirIndex(ctx, namespace, name)
	return x, err
}

func (c *Cache) dirIndex(ctx context.Context, namespace, name string) (jobs.CacheDirIndex, uint64, error) {
	empty := jobs.CacheDirIndex{Name: name}
	at, err := dirIndexKey(namespace, name)
	if err != nil {
		return empty, 0, err
	}
	last, err := c.bucket.Last(ctx, at)
	if errors.Is(err, jetstream.ErrNotFound) {
		return empty, last.Revision, nil
	}
	if err != nil {
		return empty, 0, err
	}
	x, err := decode[jobs.CacheDirIndex](last)
	if err != nil || x.Name != name {
		return empty, last.Revision, nil //nolint:nilerr // an index that cannot be read is replaced
	}
	return x, last.Revision, nil
}

func (c *Cache) changeDirIndex(ctx context.Context, namespace, name string, change func(*jobs.CacheDirIndex)) error {
	at, err := dirIndexKey(namespace, name)
	if err != nil {
		return err
	}
	for {
		x, revision, err := c.dirIndex(ctx, namespace, name)
		if err != nil {
			return err
		}
		change(&x)
		value, err := jobs.Marshal(&x)
		if err != nil {
			return err
		}
		_, err = c.bucket.Update(ctx, at, value, revision)
		if !errors.Is(err, jetstream.ErrConflict) {
			return err
		}
	}
}
