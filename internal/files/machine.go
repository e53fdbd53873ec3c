package files

import (
	"context"
	"sync"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/filestore"
)

// Config configures a Machine.
type Config struct {
	Dir    string        // of the local store; "" = filestore.DefaultDir
	Max    int64         // bytes of the local store; 0 = filestore.DefaultMax
	Remote content.Store // the store that all machines share, in any namespace
}

// Machine provides the files of attempts on this machine. It is safe for
// concurrent use. The store of the machine is opened when it is first used: many
// workers never see a file.
type Machine struct {
	cfg Config

	mu    sync.Mutex
	store *filestore.Store
}

// New returns the files of this machine. The caller closes them.
func New(cfg Config) *Machine { return &Machine{cfg: cfg} }

// Store returns the store of the machine, and opens it if nobody has used it.
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
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.store == nil {
		return nil
	}
	err := m.store.Close()
	m.store = nil
	return err
}
