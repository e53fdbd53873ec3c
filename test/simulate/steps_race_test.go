//go:build race

package simulate_test

// steps is the number of steps of a test. They take longer under the race
// detector.
const steps = 60_000
