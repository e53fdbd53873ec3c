package attempt

import (
	"sync"
	"time"
)

// KeyLease is the right of a worker to execute attempts that hold a key. It is live
// until TTL − margin after the last acknowledged heartbeat was sent, which is
// before any observer may conclude that the worker is lost. A clock that stops while
// its machine is suspended makes it too long; fencing tokens protect against that.
type KeyLease struct {
	span time.Duration

	mu      sync.Mutex
	until   time.Time
	gaps    int           // how often it has lapsed
	lapsed  bool          // it has lapsed, and was not renewed since
	renewed chan struct{} // closed at the next renewal
}

// NewKeyLease returns a lease that has not begun. The margin covers the time to kill
// and the drift of three clocks.
func NewKeyLease(ttl time.Duration) *KeyLease {
	margin := min(max(ttl/6, 200*time.Millisecond), 2*time.Second)
	return &KeyLease{span: ttl - margin, lapsed: true, renewed: make(chan struct{})}
}

// Renew extends the lease from the time at which the heartbeat was sent. It reports
// whether the lease had lapsed before.
func (l *KeyLease) Renew(sent, now time.Time) (gap bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noticeLapse(now)
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

// noticeLapse notices a lapse after the process was suspended. The caller holds mu.
func (l *KeyLease) noticeLapse(now time.Time) {
	if !l.lapsed && !now.Before(l.until) {
		l.lapsed = true
		l.gaps++
	}
}

// State reports whether the lease is live, and how many gaps it has had.
func (l *KeyLease) State(now time.Time) (gaps int, live bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noticeLapse(now)
	return l.gaps, !l.lapsed
}

// Unbroken reports whether the lease is live, and has been since State returned gaps.
func (l *KeyLease) Unbroken(gaps int, now time.Time) bool {
	g, live := l.State(now)
	return live && g == gaps
}

// Next is when the lease lapses unless it is renewed, and a channel that the renewal
// closes.
func (l *KeyLease) Next() (time.Time, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.until, l.renewed
}
