package jetstream

import (
	"testing"
	"time"
)

// TestLongAnswerMayTakeLonger: a chunk that was cut on a fast link arrives over a slow
// one, on a connection of its own and on one that everything shares.
func TestLongAnswerMayTakeLonger(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		patient bool
		bytes   int
		within  time.Duration
	}{
		{false, 0, tryTimeout},
		{false, mostChunk, tryTimeout + mostChunk/slowestLink*time.Second},
		{true, 0, stallAfter},
		{true, mostChunk, stallAfter + mostChunk/slowestLink*time.Second},
	} {
		calls := newCalls("_INBOX")
		calls.patient = x.patient
		now := time.Now()
		c := newCall("s", x.bytes, nil)
		for _, late := range []bool{false, true} {
			c.sent = now.Add(-x.within)
			if late {
				c.sent = c.sent.Add(-time.Second)
			}
			if calls.late(now, c) != late {
				t.Errorf("%d bytes after %v: late is %t", x.bytes, now.Sub(c.sent), !late)
			}
		}
	}
}
