//go:build unix

package tree

import (
	"syscall"
	"testing"
)

// cpu returns a function that reports the processor time since, of this process
// and of the programs that it started, in ms an operation: it depends less than
// the duration on what else the machine does.
func cpu(b *testing.B) func() {
	b.Helper()
	used := func() int64 {
		var sum int64
		for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
			var u syscall.Rusage
			if err := syscall.Getrusage(who, &u); err != nil {
				b.Fatal(err)
			}
			sum += u.Utime.Nano() + u.Stime.Nano()
		}
		return sum
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/1e6/float64(b.N), "cpu-ms/op") }
}
