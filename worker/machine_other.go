//go:build !linux && !darwin

package worker

// memory is not known here: no requirement on it is met.
func memory() int64 { return 0 }

// load is not known here.
func load() float64 { return 0 }
