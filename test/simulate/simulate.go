package simulate

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// Result is what a simulation found.
type Result struct {
	Steps     int
	Worlds    int    // started
	Sum       uint64 // of all events; equal seeds and steps give equal sums
	Violation *Violation
}

// Run simulates the given number of steps, in one world after the other. The
// first world has the given seed. The seeds of the others follow from it and
// their numbers. Run stops at the first violation. The same arguments give the
// same result on any machine.
func Run(seed uint64, steps int) Result {
	var r Result
	r.Sum = fnvOffset
	batch := max(1, runtime.GOMAXPROCS(0))
	for first := 0; r.Steps < steps; first += batch {
		for _, w := range several(seed, first, batch, steps-r.Steps) {
			if !r.add(w, steps) {
				return r
			}
		}
	}
	return r
}

// add adds a world's history to the result. It reports whether to continue.
func (r *Result) add(w *world, steps int) bool {
	if left := steps - r.Steps; w.step > left { // its limit was more than is left now
		seed := w.seed
		w = newWorld(seed)
		w.run(left)
	}
	r.Worlds++
	r.Steps += w.step
	r.Sum = (r.Sum ^ w.trace.sum) * fnvPrime
	r.Violation = w.failed
	return r.Violation == nil && r.Steps < steps
}

// several runs worlds in parallel. They share nothing.
func several(seed uint64, first, count, limit int) []*world {
	worlds := make([]*world, count)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range count {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < count; i = int(next.Add(1)) - 1 {
				worlds[i] = newWorld(seedOf(seed, first+i))
				worlds[i].run(limit)
			}
		})
	}
	wg.Wait()
	return worlds
}

// seedOf is the seed of a world.
func seedOf(seed uint64, number int) uint64 {
	if number == 0 {
		return seed
	}
	z := seed + uint64(number)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return (z ^ z>>31) >> 1
}

// Reproduce returns the command that repeats a violation.
func (v *Violation) Reproduce() string {
	return fmt.Sprintf("make simulate SEED=%d STEPS=%d", v.Seed, v.Step)
}
