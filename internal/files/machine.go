package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"sync"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/filestore"
	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/jobs"
)

// Config configures a Machine.
type Config struct {
	Dir    string        // of the local store; "" = filestore.DefaultDir
	Max    int64         // bytes of the local store; 0 = filestore.DefaultMax
	Remote content.Store // the store that all machines share, in any namespace
	// Keep is how many directories that attempts have left may serve further ones;
	// 0 = none. Each takes the space of its files, besides Max.
	Keep int
}

// Machine provides the files of attempts on this machine. It is safe for
// concurrent use. The store of the machine is opened when it is first used: many
// workers never see a file.
type Machine struct {
	cfg Config

	mu      sync.Mutex // guards the fields below
	store   *filestore.Store
	left    []left                 // the oldest first
	marked  int                    // files of the directories that are marked
	indexes map[string]*tree.Index // by workspace
}

// New returns the files of this machine. The caller closes them.
func New(cfg Config) *Machine { return &Machine{cfg: cfg} }

// Store returns the store of the machine, and opens it at the first call.
func (m *Machine) Store(ctx context.Context) (*filestore.Store, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.store != nil {
		return m.store, nil
	}
	dir := m.cfg.Dir
	if dir == "" {
		var err error
		if dir, err = filestore.DefaultDir(); err != nil {
			return nil, err
		}
	}
	s, err := filestore.Open(ctx, dir, m.cfg.Max)
	if err != nil {
		return nil, err
	}
	m.store = s
	return s, nil
}

// Close closes the store of the machine. No Directory may be open.
func (m *Machine) Close() error {
	_, err := m.dropLeft()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.store == nil {
		return err
	}
	for _, index := range m.indexes {
		if index != nil {
			err = errors.Join(err, index.Save())
		}
	}
	err = errors.Join(err, m.store.Close())
	m.store, m.indexes = nil, nil
	return err
}

// index returns the index of a worker's workspace; nil when it cannot be read: then
// files are read instead. It is kept beside the store.
func (m *Machine) index(workspace string, store *filestore.Store) *tree.Index {
	m.mu.Lock()
	defer m.mu.Unlock()
	if index, ok := m.indexes[workspace]; ok {
		return index
	}
	index, err := openIndex(filepath.Join(filepath.Dir(store.Dir()), "index"), workspace)
	if err != nil {
		index = nil
	}
	if m.indexes == nil {
		m.indexes = map[string]*tree.Index{}
	}
	m.indexes[workspace] = index
	return index
}

func openIndex(dir, workspace string) (*tree.Index, error) {
	real, err := filepath.EvalSymlinks(workspace)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(real))
	return tree.OpenIndex(filepath.Join(dir, hex.EncodeToString(sum[:16])+".artifacts"))
}

// Download writes artifacts below a directory, which it creates, and closes the
// machine. A file that is there already with another content is an error, and is not
// replaced.
func (m *Machine) Download(ctx context.Context, artifacts []jobs.Restore, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	d, err := m.Prepare(ctx, &jobs.JobFiles{Restore: artifacts}, dir)
	if err == nil {
		err = d.Close()
	}
	return errors.Join(err, m.Close())
}
