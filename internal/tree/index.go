package tree

import (
	"sync"
	"time"
)

const (
	maxIndexed = 2_000_000 // entries of an index
	// maxIdle is how often an index is saved with an entry that was not asked
	// for. Trees of parts of a directory may then share its index.
	maxIdle = 20
)

// Index remembers the digests of files, so that Take and Write need not read what
// has not changed: one stat shows it. It belongs to one directory and is safe for
// several goroutines.
//
// It trusts size, modification time, inode and change time, to the nanosecond. A
// file that changed so shortly before it was read that a later change could carry
// the same times is not remembered, but read again the next time. On systems
// without change time and inode (Windows), a program that sets the modification
// time back after a change of the same size is not noticed.
type Index struct {
	file string

	mu      sync.Mutex // guards the fields below
	entries map[string]indexed
	dirty   bool
}

type indexed struct {
	stamp  stamp
	digest Digest
	idle   uint8 // saves since it was asked for
}

// lookup returns the digest of a file that has not changed.
func (x *Index) lookup(path string, s stamp) (Digest, bool) {
	if x == nil {
		return Digest{}, false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	e, ok := x.entries[path]
	if !ok || e.stamp != s {
		return Digest{}, false
	}
	if e.idle > 0 { // no reason to save: a later save counts from here
		e.idle = 0
		x.entries[path] = e
	}
	return e.digest, true
}

// put remembers the digest of what was read from a file after the given instant.
func (x *Index) put(path string, s stamp, d Digest, at time.Time) {
	if x == nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	_, known := x.entries[path]
	switch {
	case s.racy(at):
		delete(x.entries, path)
		x.dirty = x.dirty || known
	case known || len(x.entries) < maxIndexed:
		x.entries[path] = indexed{stamp: s, digest: d}
		x.dirty = true
	}
}
