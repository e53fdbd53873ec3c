package exec

import (
	"testing"
	"time"
)

func TestStopwatchLeavesPausesOut(t *testing.T) {
	began := time.Now()
	w := NewStopwatch(began)
	for _, row := range []struct{ at, want time.Duration }{
		{200 * time.Millisecond, 200 * time.Millisecond},
		{700 * time.Millisecond, 700 * time.Millisecond}, // a busy machine
		{9700 * time.Millisecond, 700 * time.Millisecond},
		{9900 * time.Millisecond, 900 * time.Millisecond},
		{9800 * time.Millisecond, 800 * time.Millisecond}, // before the last reading
	} {
		if got := w.Ran(began.Add(row.at)); got != row.want {
			t.Errorf("after %v: ran %v, want %v", row.at, got, row.want)
		}
	}
}
