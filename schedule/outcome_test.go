package schedule

import (
	"math"
	"testing"
	"time"
)

func TestBackoffDoublesUpToItsBound(t *testing.T) {
	for _, row := range []struct {
		base, most time.Duration
		attempts   int
		want       time.Duration
	}{
		{time.Second, time.Minute, 1, time.Second},
		{time.Second, time.Minute, 3, 4 * time.Second},
		{time.Second, time.Minute, 100, time.Minute},
		{0, time.Minute, 5, 0},
		{1, math.MaxInt64, 100, math.MaxInt64},
		{math.MaxInt64, math.MaxInt64, 2, math.MaxInt64},
	} {
		if got := backoff(row.base, row.most, row.attempts); got != row.want {
			t.Errorf("delay %d, at most %d, after %d attempts: %d, want %d", row.base, row.most, row.attempts, got, row.want)
		}
	}
}
