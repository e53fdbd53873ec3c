package attempt

import (
	"testing"
	"time"
)

func TestLease(t *testing.T) {
	t0 := time.Unix(1000, 0)
	at := func(ms int) time.Time { return t0.Add(time.Duration(ms) * time.Millisecond) }
	l := NewKeyLease(3 * time.Second) // 2.5 s
	if _, live := l.State(t0); live {
		t.Error("live before it began")
	}
	l.Renew(at(0), at(100))
	gaps, live := l.State(at(2499))
	if !live || !l.Unbroken(gaps, at(2499)) {
		t.Error("not live in its time")
	}
	if _, live := l.State(at(2500)); live {
		t.Error("the lease was extended from the acknowledgement, not from the heartbeat")
	}
	if !l.Renew(at(2600), at(2700)) {
		t.Error("the gap was not seen")
	}
	if l.Unbroken(gaps, at(2700)) {
		t.Error("unbroken over a gap")
	}
	gaps, _ = l.State(at(2700))
	if gap := l.Renew(at(6000), at(6010)); !gap || l.Unbroken(gaps, at(6010)) {
		t.Error("a gap in which the process was suspended was not noticed")
	}
	l.Renew(at(5000), at(6020)) // a late answer to an older heartbeat
	if until, _ := l.Next(); !until.Equal(at(8500)) {
		t.Errorf("until %v", until)
	}
	if l.Renew(at(9000), at(20000)); l.Unbroken(gaps, at(20000)) {
		t.Error("an acknowledgement that comes too late renews nothing")
	}
}
