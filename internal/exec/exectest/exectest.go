// Package exectest provides helpers for the tests of executors.
package exectest

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/modpipe/modpipe/internal/exec"
	"github.com/modpipe/modpipe/jobs"
)

// Stops holds the requests to end a task, as a worker does.
type Stops struct {
	changed chan struct{}

	mu    sync.Mutex
	first *exec.Stop
}

// NewStops holds no request.
func NewStops() *Stops { return &Stops{changed: make(chan struct{}, 1)} }

// Changed receives a token after a request.
func (s *Stops) Changed() <-chan struct{} { return s.changed }

// Asked returns the first request, without its grace if a later one has none.
func (s *Stops) Asked() (exec.Stop, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == nil {
		return exec.Stop{}, false
	}
	return *s.first, true
}

// Ask adds a request.
func (s *Stops) Ask(st exec.Stop) {
	s.mu.Lock()
	if s.first == nil {
		s.first = &st
	} else if st.Grace == 0 {
		s.first.Grace = 0
	}
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Output keeps what is written, by stream.
type Output struct {
	Grown func(stdout string) // called after each piece; nil = not

	mu       sync.Mutex
	out, err bytes.Buffer
}

// Write adds a piece.
func (o *Output) Write(s jobs.Stream, data []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s == jobs.Stdout {
		o.out.Write(data)
	} else {
		o.err.Write(data)
	}
	if o.Grown != nil {
		o.Grown(o.out.String())
	}
}

// Stdout is what was written to standard output.
func (o *Output) Stdout() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.out.String()
}

// Stderr is what was written to standard error.
func (o *Output) Stderr() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err.String()
}

// Until waits until f reports true. It fails the test after a minute.
func Until(t testing.TB, what string, f func() bool) {
	t.Helper()
	limit := time.Now().Add(time.Minute)
	for !f() {
		if time.Now().After(limit) {
			t.Fatal("not so in time: " + what)
		}
		<-time.After(5 * time.Millisecond)
	}
}
