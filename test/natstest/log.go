package natstest

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// Log keeps what a program logs.
type Log struct {
	mu   sync.Mutex
	log  bytes.Buffer
	more chan struct{} // closed and replaced with every line
}

// NewLog returns an empty log.
func NewLog() *Log { return &Log{more: make(chan struct{})} }

// Logger returns a logger that writes to the log.
func (n *Log) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(n, nil)) }

// Write implements io.Writer.
func (n *Log) Write(line []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.more)
	n.more = make(chan struct{})
	return n.log.Write(line)
}

// Text returns what was logged.
func (n *Log) Text() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.String()
}

// Await waits until the log has the text.
func (n *Log) Await(t testing.TB, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for {
		n.mu.Lock()
		have, more := strings.Contains(n.log.String(), text), n.more
		n.mu.Unlock()
		if have {
			return
		}
		select {
		case <-more:
		case <-ctx.Done():
			t.Fatalf("%q is not logged:\n%s", text, n.Text())
		}
	}
}
