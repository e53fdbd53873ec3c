package simulate_test

import (
	"runtime"
	"testing"

	"github.com/modpipe/modpipe/test/simulate"
)

// TestPromisesHold runs a million steps.
func TestPromisesHold(t *testing.T) {
	r := simulate.Run(1, steps)
	if v := r.Violation; v != nil {
		t.Fatalf("%s\n%s\nreproduce with: %s", v, v.Trace, v.Reproduce())
	}
	t.Logf("%d steps in %d worlds", r.Steps, r.Worlds)
}

// TestSameSeedGivesSameHistory also runs with another number of processors.
func TestSameSeedGivesSameHistory(t *testing.T) {
	const few = steps / 20
	first := simulate.Run(7, few)
	if again := simulate.Run(7, few); again.Sum != first.Sum || again.Steps != few {
		t.Errorf("the second run made %d steps with the sum %x, the first %d with %x", again.Steps, again.Sum, first.Steps, first.Sum)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if alone := simulate.Run(7, few); alone.Sum != first.Sum {
		t.Errorf("the sum on one processor is %x, want %x", alone.Sum, first.Sum)
	}
	if other := simulate.Run(8, few); other.Sum == first.Sum {
		t.Error("another seed gives the same history")
	}
}
