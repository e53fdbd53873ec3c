package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/modpipe/modpipe/internal/atomicfile"
	"github.com/modpipe/modpipe/internal/ident"
)

// Listening describes an embedded server that listens to other programs of its user,
// in listen/PORT.json of the state directory.
type Listening struct {
	Address    string   `json:"address"`               // HOST:PORT
	TokenFiles []string `json:"token_files,omitempty"` // the first allows everything, the second the work of a worker; none = the server asks for no token
	Pin        string   `json:"tls_pin,omitempty"`     // of its certificate; "" = no TLS
	PID        int      `json:"pid"`
	Host       string   `json:"host"` // the machine: a home directory may be on several
}

// ListenFile is the file of a live server. Its writer holds the lock beside it.
// Readers ignore a file that a killed process has left, because its lock is free.
type ListenFile struct {
	path string
	lock *flock.Flock
}

func listenPath(state, port string) string { return filepath.Join(state, "listen", port+".json") }

// lockPatience covers readers that hold the lock for a moment.
const lockPatience = time.Second

// Announce announces a server.
func Announce(ctx context.Context, state string, l Listening) (*ListenFile, error) {
	_, port, err := net.SplitHostPort(l.Address)
	if err != nil {
		return nil, err
	}
	if err := makeOurTemporary(state); err != nil {
		return nil, err
	}
	path := listenPath(state, port)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f := &ListenFile{path, flock.New(lockPath(path), flock.SetFlag(os.O_CREATE|os.O_RDWR))}
	patience, stop := context.WithTimeout(ctx, lockPatience)
	defer stop()
	switch ok, err := f.lock.TryLockContext(patience, 20*time.Millisecond); {
	case ok:
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return nil, fmt.Errorf("another server of this user listens at port %s, on another address", port)
	default:
		return nil, err
	}
	l.PID, l.Host = os.Getpid(), ident.Host()
	text, err := json.Marshal(l)
	if err == nil {
		err = errors.Join(removed(path), atomicfile.Write(path, append(text, '\n'), 0o600))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func lockPath(path string) string { return strings.TrimSuffix(path, ".json") + ".lock" }

// removed removes a file that a killed process may have left.
func removed(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Close removes the file. The file of the lock stays: without it, two processes could
// hold the lock.
func (f *ListenFile) Close() {
	if f == nil {
		return
	}
	_ = removed(f.path)
	_ = f.lock.Close()
}

// ReadListening reads the description of our own live server at a port of this
// machine.
func ReadListening(state, port string) (Listening, bool) {
	path := listenPath(state, port)
	if OurTemporary(state) != nil || !OwnAndClosed(path) {
		return Listening{}, false
	}
	lock := flock.New(lockPath(path), flock.SetFlag(os.O_RDONLY))
	defer func() { _ = lock.Close() }()
	if free, err := lock.TryRLock(); err != nil || free {
		return Listening{}, false // its server has ended
	}
	var l Listening
	text, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(text, &l) != nil || l.Host != ident.Host() {
		return Listening{}, false
	}
	return l, true
}

// OwnAndClosed reports whether path is a regular file that belongs to this user and
// that no other user can read.
func OwnAndClosed(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().IsRegular() && ownedByUs(info) && onlyForOwner(info)
}

// Token reads the token that allows everything; "" without one.
func (l Listening) Token() string { return l.token(0) }

// WorkerToken reads the token of workers, or else the one that allows everything.
func (l Listening) WorkerToken() string { return cmp.Or(l.token(1), l.token(0)) }

func (l Listening) token(at int) string {
	if at >= len(l.TokenFiles) {
		return ""
	}
	text, err := os.ReadFile(l.TokenFiles[at])
	if err != nil {
		return "" // the server refuses us and reports why
	}
	return strings.TrimSpace(string(text))
}

// At reports whether the server is at a host and port of this machine.
func (l Listening) At(host, port string) bool {
	have, p, err := net.SplitHostPort(l.Address)
	if err != nil || p != port {
		return false
	}
	ip, own := net.ParseIP(host), net.ParseIP(have)
	switch {
	case host == "localhost", have == host, have == "":
		return true
	case ip == nil || own == nil:
		return false
	}
	return own.IsUnspecified() || own.Equal(ip)
}
