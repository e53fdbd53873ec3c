//go:build !race

package simulate_test

// steps is the number of steps of a test.
const steps = 1_000_000
