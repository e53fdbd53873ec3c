package jetstream

import (
	"errors"
	"net"
	"regexp"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// tries are the attempts to connect.
type tries struct {
	nc        atomic.Pointer[nats.Conn]
	connected atomic.Bool // once at least
	final     int         // rounds in a row that failed for a permanent reason; the client's goroutine owns it

	mu         sync.Mutex
	reason     error  // why the last attempt failed
	lastReport string // the reason that was last reported
}

// failed notes why an attempt to connect failed. It ignores ErrNoServers, which
// follows a better reason.
func (t *tries) failed(err error) {
	if err == nil || errors.Is(err, nats.ErrNoServers) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reason = withoutPorts(err)
}

// why returns the reason of the last failed attempt; nil when none is known.
func (t *tries) why() error {
	if nc := t.nc.Load(); nc != nil {
		t.failed(nc.LastError())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.reason
}

// unreported returns the reason unless it was already reported.
func (t *tries) unreported() error {
	why := t.why()
	t.mu.Lock()
	defer t.mu.Unlock()
	if why == nil || why.Error() == t.lastReport {
		return nil
	}
	t.lastReport = why.Error()
	return why
}

// succeeded notes a connection and forgets earlier failures.
func (t *tries) succeeded() {
	t.connected.Store(true)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reason, t.lastReport = nil, ""
}

// sourcePort matches the local end of a connection in the text of an error.
var sourcePort = regexp.MustCompile(`\S+->`)

// tryError is why an attempt to connect failed, without the text that differs
// between attempts.
type tryError struct {
	text string
	err  error
}

func (e *tryError) Error() string { return e.text }
func (e *tryError) Unwrap() error { return e.err }

func withoutPorts(err error) error {
	return &tryError{sourcePort.ReplaceAllString(err.Error(), ""), err}
}

// dialer notes why it cannot dial. For a refused connection nats.go itself
// reports only that there are no servers.
type dialer struct {
	net.Dialer
	tries *tries
}

// Dial implements nats.CustomDialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	c, err := d.Dialer.Dial(network, address) // the interface has no context; Timeout bounds it
	if err != nil {
		d.tries.failed(err)
	}
	return c, err
}

// reported reports whether the wait for the connection was reported.
func (t *tries) reported() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lastReport != ""
}
