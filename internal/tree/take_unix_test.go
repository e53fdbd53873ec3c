//go:build unix

package tree

import (
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestTakeRefusesFIFOsAndSockets(t *testing.T) {
	dir, root := layout(t, map[string]string{"a/b": ""})
	if err := syscall.Mkfifo(filepath.Join(dir, "a/pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Take(t.Context(), root, TakeOptions{})
	if err == nil || !strings.Contains(err.Error(), `"a/pipe" is refused: it is a FIFO`) {
		t.Errorf("the error is %v", err)
	}
	t.Chdir(dir) // the path of a socket has to be short
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", "socket")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = Take(t.Context(), root, TakeOptions{Patterns: []string{"*", "!a"}})
	if err == nil || !strings.Contains(err.Error(), `"socket" is refused: it is a socket`) {
		t.Errorf("the error is %v", err)
	}
}

// A FIFO that takes the place of a file would keep its reader waiting.
func TestOpeningAFIFODoesNotWait(t *testing.T) {
	dir, root := layout(t, map[string]string{"a": ""})
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := machine.open(root, "pipe")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}
