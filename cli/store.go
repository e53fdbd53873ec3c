package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/spf13/pflag"

	"github.com/modpipe/modpipe/internal/pause"
)

// place says which workspace, and which store, a command is about.
type place struct {
	workspace string // "" = the git work tree around the file or the working directory
	store     string // "" = the workspace's
}

func (p *place) define(fs *pflag.FlagSet, workspace string) {
	textFlag(fs, &p.workspace, "workspace", "", "DIR", "", workspace)
	textFlag(fs, &p.store, "store", "", "DIR", "", "where the embedded server keeps its data (default: a directory per workspace under $XDG_STATE_HOME/modpipe)")
}

// workspaceAt is the workspace of a file in dir: the git work tree that holds
// it, else dir.
func workspaceAt(dir string) string {
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, ".git")); err == nil {
			return d
		}
		if filepath.Dir(d) == d {
			return dir
		}
	}
}

// resolve makes both directories absolute. dir is where the file is.
func (p place) resolve(env environment, dir string) (workspace, store string, err error) {
	if workspace = p.workspace; workspace == "" {
		workspace = workspaceAt(dir)
	}
	if workspace, err = filepath.Abs(workspace); err != nil {
		return "", "", err
	}
	if info, err := os.Stat(workspace); err != nil || !info.IsDir() {
		return "", "", usageError("--workspace: %s is not a directory", workspace)
	}
	if real, err := filepath.EvalSymlinks(workspace); err == nil {
		workspace = real
	}
	if p.store != "" {
		store, err = filepath.Abs(p.store)
		return workspace, store, err
	}
	return workspace, filepath.Join(stateDir(env), storeName(workspace)), nil
}

// stateDir is where the data of all workspaces is kept. A home directory in
// which nothing can be made counts for none: containers give their users / or
// another user's.
func stateDir(env environment) string {
	if env["XDG_STATE_HOME"] != "" {
		return filepath.Join(env["XDG_STATE_HOME"], "modpipe")
	}
	if home := env["HOME"]; home != "" {
		if dir := filepath.Join(home, ".local", "state", "modpipe"); canBeMade(dir) {
			return dir
		}
	}
	return temporaryState()
}

// canBeMade reports whether we may write into a directory, or make it.
func canBeMade(dir string) bool {
	for {
		_, err := os.Stat(dir)
		if err == nil {
			return writable(dir)
		}
		above := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || above == dir {
			return false
		}
		dir = above
	}
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)

// storeName tells workspaces apart, and can be read.
func storeName(workspace string) string {
	sum := sha256.Sum256([]byte(workspace))
	return notInNames.ReplaceAllString(filepath.Base(workspace), "_") + "-" + hex.EncodeToString(sum[:6])
}

// store is a directory that this process holds.
type store struct {
	dir       string
	lock      *os.File
	temporary bool
}

// holder is what the process that holds a store says of itself, in server.json.
type holder struct {
	URL    string `json:"url"`
	Token  string `json:"token,omitempty"`
	Pin    string `json:"tls_pin,omitempty"` // of its certificate; "" = it speaks no TLS
	PID    int    `json:"pid"`
	Reader bool   `json:"reader,omitempty"` // it only reads, and is soon gone
	Serves bool   `json:"serves,omitempty"` // it takes runs that are submitted to its server
}

// errHeld says that another process holds the store.
var errHeld = errors.New("another process holds the store")

// servedError says that a process holds the store, and serves its runs.
type servedError struct {
	holder holder
	dir    string
}

func (e *servedError) Error() string {
	return fmt.Sprintf("process %d serves the store %s already", e.holder.PID, e.dir)
}

// hold takes the store, making it when it is not there; errHeld.
func hold(dir string) (*store, error) {
	if err := makeOurTemporary(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, infrastructureError("store: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, infrastructureError("store: %w", err)
	}
	if err := lockFile(f); err != nil {
		_ = f.Close()
		return nil, errHeld
	}
	_ = os.Remove(filepath.Join(dir, "server.json")) // of a holder that was killed
	return &store{dir: dir, lock: f}, nil
}

// readerPatience is how long a run waits for a command that reads its store.
const readerPatience = 5 * time.Second

// holdOrBorrow takes the store, or a temporary one when another run holds it.
func holdOrBorrow(ctx context.Context, dir string) (*store, error) {
	patience, stop := context.WithTimeout(ctx, readerPatience)
	defer stop()
	for {
		s, err := hold(dir)
		if !errors.Is(err, errHeld) {
			return s, err
		}
		h, known := readHolder(dir)
		if (known && !h.Reader) || pause.For(patience, 50*time.Millisecond) != nil {
			return borrow()
		}
	}
}

// holdOwn takes a store that must be there. Another holder has to be
// asked instead.
func holdOwn(ctx context.Context, dir string) (*store, error) {
	if err := storeExists(dir); err != nil {
		return nil, err
	}
	return holdSoon(ctx, dir)
}

// holdSoon takes a store that only a reader may hold for a moment.
func holdSoon(ctx context.Context, dir string) (*store, error) {
	patience, stop := context.WithTimeout(ctx, readerPatience)
	defer stop()
	for {
		s, err := hold(dir)
		if !errors.Is(err, errHeld) {
			return s, err
		}
		h, known := readHolder(dir)
		switch {
		case known && h.Serves:
			return nil, notFoundError("%w", &servedError{h, dir})
		case known && !h.Reader:
			return nil, notFoundError("process %d holds the store %s: wait until its run has ended", h.PID, dir)
		case pause.For(patience, 50*time.Millisecond) != nil:
			return nil, infrastructureError("the store %s is held by a process that has not written its address", dir)
		}
	}
}

// errNoStore says that nothing has ever run in a workspace.
var errNoStore = errors.New("nothing has run here yet")

func storeExists(dir string) error {
	if err := ourTemporary(dir); err != nil {
		return err
	}
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return &exitError{exitNotFound, fmt.Errorf("%w: there is no store %s\n--server, --workspace and --store say where else to look", errNoStore, dir)}
	}
	return nil
}

func borrow() (*store, error) {
	dir, err := os.MkdirTemp("", "modpipe-store-")
	if err != nil {
		return nil, infrastructureError("temporary store: %w", err)
	}
	s, err := hold(dir)
	if err != nil {
		return nil, err
	}
	s.temporary = true
	return s, nil
}

func (s *store) data() string { return filepath.Join(s.dir, "nats") }

// announce tells other processes of this user how to reach the server.
func (s *store) announce(h holder) error {
	h.PID = os.Getpid()
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(s.dir, "server.json"), append(text, '\n'), 0o600)
}

func readHolder(dir string) (holder, bool) {
	var h holder
	text, err := os.ReadFile(filepath.Join(dir, "server.json"))
	if err != nil || json.Unmarshal(text, &h) != nil {
		return holder{}, false
	}
	return h, true
}

// close lets go of the store; a temporary one is gone then.
func (s *store) close() {
	_ = os.Remove(filepath.Join(s.dir, "server.json"))
	if s.temporary {
		_ = os.RemoveAll(s.dir)
	}
	_ = s.lock.Close()
}
