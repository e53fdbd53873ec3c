//go:build race

package simulate_test

// steps is how many a test makes: they take longer under the race detector.
const steps = 60_000
