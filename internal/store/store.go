package store

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

	"github.com/gofrs/flock"

	"github.com/modpipe/modpipe/internal/atomicfile"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/pause"
)

// Location is the workspace and the store of a command.
type Location struct {
	Workspace string // "" = the git work tree around the file or the working directory
	Dir       string // "" = the workspace's
}

// workspaceAt returns the workspace of a file in dir: the git work tree that contains
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

// Resolve makes both directories absolute. dir is the directory of the file.
func (p Location) Resolve(env map[string]string, dir string) (workspace, store string, err error) {
	if workspace = p.Workspace; workspace == "" {
		workspace = workspaceAt(dir)
	}
	if workspace, err = filepath.Abs(workspace); err != nil {
		return "", "", err
	}
	if info, err := os.Stat(workspace); err != nil || !info.IsDir() {
		return "", "", exit.Usagef("--workspace: %s is not a directory", workspace)
	}
	if real, err := filepath.EvalSymlinks(workspace); err == nil {
		workspace = real
	}
	if p.Dir != "" {
		store, err = filepath.Abs(p.Dir)
		return workspace, store, err
	}
	return workspace, filepath.Join(StateDir(env), storeName(workspace)), nil
}

// StateDir is the directory for the data of all workspaces. A home directory without
// write permission counts as missing: containers give their users / or the home of
// another user.
func StateDir(env map[string]string) string {
	if env["XDG_STATE_HOME"] != "" {
		return filepath.Join(env["XDG_STATE_HOME"], "modpipe")
	}
	if home := env["HOME"]; home != "" {
		if dir := filepath.Join(home, ".local", "state", "modpipe"); canBeMade(dir) {
			return dir
		}
	}
	return TemporaryState()
}

// canBeMade reports whether we may write into a directory, or create it.
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

// storeName returns a readable name that is unique to a workspace.
func storeName(workspace string) string {
	sum := sha256.Sum256([]byte(workspace))
	return notInNames.ReplaceAllString(filepath.Base(workspace), "_") + "-" + hex.EncodeToString(sum[:6])
}

// Dir is a directory that this process holds.
type Dir struct {
	Path      string
	lock      *flock.Flock
	Temporary bool
}

// Holder describes the process that holds a store, in server.json.
type Holder struct {
	URL    string `json:"url"`
	Token  string `json:"token,omitempty"`
	Pin    string `json:"tls_pin,omitempty"` // of its certificate; "" = no TLS
	PID    int    `json:"pid"`
	Reader bool   `json:"reader,omitempty"` // it only reads, and ends soon
	Serves bool   `json:"serves,omitempty"` // it takes runs that are submitted to its server
}

// ErrHeld reports that another process holds the store.
var ErrHeld = errors.New("another process holds the store")

// ServedError reports that a process holds the store and serves its runs.
type ServedError struct {
	Holder Holder
	Dir    string
}

// Error names the process and the store.
func (e *ServedError) Error() string {
	return fmt.Sprintf("process %d serves the store %s already", e.Holder.PID, e.Dir)
}

// Hold takes the store, and creates it when it does not exist. It returns ErrHeld when
// another process holds it.
func Hold(dir string) (*Dir, error) {
	if err := makeOurTemporary(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, exit.Infrastructuref("store: %w", err)
	}
	lock := flock.New(filepath.Join(dir, "lock"), flock.SetFlag(os.O_CREATE|os.O_RDWR))
	ok, err := lock.TryLock()
	if err != nil {
		return nil, exit.Infrastructuref("store: %w", err)
	}
	if !ok {
		return nil, ErrHeld
	}
	_ = os.Remove(filepath.Join(dir, "server.json")) // of a holder that was killed
	return &Dir{Path: dir, lock: lock}, nil
}

// readerPatience is the time for which a run waits for a command that reads its store.
const readerPatience = 5 * time.Second

// HoldOrBorrow takes the store, or a temporary one when another run holds it.
func HoldOrBorrow(ctx context.Context, dir string) (*Dir, error) {
	s, _, err := holdAfterReaders(ctx, dir)
	if errors.Is(err, ErrHeld) {
		return Borrow()
	}
	return s, err
}

// HoldExisting takes a store that must exist. It fails when another process holds it:
// the caller must then use the server of that process.
func HoldExisting(ctx context.Context, dir string) (*Dir, error) {
	if err := Exists(dir); err != nil {
		return nil, err
	}
	return HoldFree(ctx, dir)
}

// HoldFree takes a store that at most a reader holds for a moment.
func HoldFree(ctx context.Context, dir string) (*Dir, error) {
	s, h, err := holdAfterReaders(ctx, dir)
	switch {
	case !errors.Is(err, ErrHeld):
		return s, err
	case h == nil:
		return nil, exit.Infrastructuref("the store %s is held by a process that has not written its address", dir)
	case h.Serves:
		return nil, exit.NotFoundf("%w", &ServedError{*h, dir})
	}
	return nil, exit.NotFoundf("process %d holds the store %s: wait until its run has ended", h.PID, dir)
}

// holdAfterReaders takes the store. It waits while a command reads the store. The
// error is ErrHeld when another process holds it, with what that process has written
// about itself; nil = nothing in time.
func holdAfterReaders(ctx context.Context, dir string) (*Dir, *Holder, error) {
	patience, stop := context.WithTimeout(ctx, readerPatience)
	defer stop()
	for {
		s, err := Hold(dir)
		if !errors.Is(err, ErrHeld) {
			return s, nil, err
		}
		if h, known := ReadHolder(dir); known && !h.Reader {
			return nil, &h, err
		}
		if pause.For(patience, 50*time.Millisecond) != nil {
			return nil, nil, err
		}
	}
}

// ErrNone reports that nothing has ever run in a workspace.
var ErrNone = errors.New("nothing has run here yet")

// Exists returns nil when a directory has a store, and ErrNone otherwise.
func Exists(dir string) error {
	if err := OurTemporary(dir); err != nil {
		return err
	}
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return &exit.Error{Code: exit.NotFound, Err: fmt.Errorf("%w: there is no store %s\n--server, --workspace and --store say where else to look", ErrNone, dir)}
	}
	return nil
}

// Borrow creates and holds a temporary store.
func Borrow() (*Dir, error) {
	dir, err := os.MkdirTemp("", "modpipe-store-")
	if err != nil {
		return nil, exit.Infrastructuref("temporary store: %w", err)
	}
	s, err := Hold(dir)
	if err != nil {
		return nil, err
	}
	s.Temporary = true
	return s, nil
}

// Data is the directory of the NATS server.
func (s *Dir) Data() string { return filepath.Join(s.Path, "nats") }

// Announce writes for other processes of this user how to reach the server.
func (s *Dir) Announce(h Holder) error {
	h.PID = os.Getpid()
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(s.Path, "server.json"), append(text, '\n'), 0o600)
}

// ReadHolder reads the holder of a store; false when no holder has written it.
func ReadHolder(dir string) (Holder, bool) {
	var h Holder
	text, err := os.ReadFile(filepath.Join(dir, "server.json"))
	if err != nil || json.Unmarshal(text, &h) != nil {
		return Holder{}, false
	}
	return h, true
}

// Close releases the store. It removes a temporary one.
func (s *Dir) Close() {
	_ = os.Remove(filepath.Join(s.Path, "server.json"))
	if s.Temporary {
		_ = os.RemoveAll(s.Path)
	}
	_ = s.lock.Close()
}
