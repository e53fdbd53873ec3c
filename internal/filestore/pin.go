package filestore

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/modpipe/modpipe/internal/tree"
)

// Pin protects contents from eviction, by every process, until it is released or
// its process ends. Its methods are safe for concurrent use.
type Pin struct {
	store *Store
	path  string // of the file that lists the digests; it exists from the first Add on

	mu       sync.Mutex // held over writes of the file: a pin has few users
	released bool
}

// Pin returns a pin that protects nothing yet. The caller releases it.
func (s *Store) Pin() *Pin {
	return &Pin{store: s, path: filepath.Join(s.user.dir, pinDir, strconv.FormatUint(s.pinNames.Add(1), 10))}
}

// Add protects contents, present or not, from now on. A caller pins first and
// asks the store after that what it lacks; then an answer stays true. The machine
// causes its errors.
func (p *Pin) Add(ctx context.Context, digests ...tree.Digest) error {
	if len(digests) == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.released {
		return errors.New("add to a pin that was released")
	}
	list := make([]byte, 0, len(digests)*len(tree.Digest{}))
	for _, d := range digests {
		list = append(list, d[:]...)
	}
	if err := p.store.state.take(ctx); err != nil {
		return p.store.failed("pin files", err)
	}
	defer p.store.state.release()
	if err := appendFile(p.path, list); err != nil {
		return p.store.failed("pin files", err)
	}
	return nil
}

func appendFile(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

// Release ends the protection. Releasing again does nothing.
func (p *Pin) Release() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.released {
		return nil
	}
	p.released = true
	p.store.stuck.Store(0)
	if err := os.Remove(p.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return p.store.failed("release pinned files", err)
	}
	return nil
}

// pinned is the set of pinned digests during one eviction. It knows a digest by
// 8 of its bytes: content that shares them with pinned content is kept too.
type pinned struct {
	users string
	read  map[string]int64 // bytes read of each pin file: they only grow
	keys  map[[8]byte]struct{}
}

func newPinned(users string) *pinned {
	return &pinned{users: users, read: map[string]int64{}, keys: map[[8]byte]struct{}{}}
}

func (p *pinned) has(d tree.Digest) bool {
	_, ok := p.keys[[8]byte(d[:])]
	return ok
}

// update adds what was pinned since the last update. The caller holds the lock of
// the state. What was released since then stays in the set.
func (p *pinned) update() error {
	files, err := filepath.Glob(filepath.Join(p.users, "*", pinDir, "*"))
	for _, f := range files {
		err = errors.Join(err, p.load(f))
	}
	return err
}

func (p *pinned) load(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it was released
	}
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it was only read
	if _, err := f.Seek(p.read[path], io.SeekStart); err != nil {
		return err
	}
	for r := bufio.NewReader(f); ; {
		var d tree.Digest
		switch _, err := io.ReadFull(r, d[:]); {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF): // the rest of a write that failed
			return nil
		case err != nil:
			return err
		}
		p.keys[[8]byte(d[:])] = struct{}{}
		p.read[path] += int64(len(d))
	}
}
