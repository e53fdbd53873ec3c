package attempt

import (
	"sync"
	"time"
)

// Lease is the worker's right to act for what holds a key. It is live until
// TTL − margin after the last acknowledged heartbeat was sent: before any
// observer may conclude that the worker is lost. Clocks that stand still while
// a machine is suspended make it too long: that is what fencing tokens are for.
type Lease struct {
	span time.Duration

	mu      sync.Mutex
	until   time.Time
	gaps    int           // how often it has lapsed
	lapsed  bool          // it has, and was not renewed since
	renewed chan struct{} // closed at the next renewal
}

// NewLease makes one that has not begun. The margin is the time to kill and
// the drift of three clocks.
func NewLease(ttl time.Duration) *Lease {
	margin := min(max(ttl/6, 200*time.Millisecond), 2*time.Second)
	return &Lease{span: ttl - margin, lapsed: true, renewed: make(chan struct{})}
}

// Renew counts from when the heartbeat was sent, and reports whether the
// lease had lapsed before.
func (l *Lease) Renew(sent, now time.Time) (gap bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.look(now)
	gap = l.lapsed
	if until := sent.Add(l.span); until.After(l.until) {
		l.until = until
	}
	l.lapsed = !now.Before(l.until)
	if !l.lapsed {
		close(l.renewed)
		l.renewed = make(chan struct{})
	}
	return gap && !l.lapsed
}

// look notices a lapse that nobody was awake to see. The caller holds mu.
func (l *Lease) look(now time.Time) {
	if !l.lapsed && !now.Before(l.until) {
		l.lapsed = true
		l.gaps++
	}
}

// State says whether the lease is live, and how many gaps it has had.
func (l *Lease) State(now time.Time) (gaps int, live bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.look(now)
	return l.gaps, !l.lapsed
}

// Unbroken reports whether it is live and has been since State said gaps.
func (l *Lease) Unbroken(gaps int, now time.Time) bool {
	g, live := l.State(now)
	return live && g == gaps
}

// Next is when it lapses unless renewed, and what is closed when it is.
func (l *Lease) Next() (time.Time, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.until, l.renewed
}
