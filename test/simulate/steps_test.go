//go:build !race

package simulate_test

// steps is how many a test makes.
const steps = 1_000_000
