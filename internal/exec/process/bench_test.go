//go:build linux

package process

import (
	"os"
	"testing"
	"time"

	"github.com/modpipe/modpipe/internal/exec/exectest"
	"github.com/modpipe/modpipe/report"
)

// BenchmarkCommand executes a command that ends immediately, in a kept directory and
// under a guard.
func BenchmarkCommand(b *testing.B) {
	g := startTestGuard(b)
	kept := &spares{most: 1}
	defer kept.remove()
	dir, job := b.TempDir(), script("true")
	job.Grace = 10 * time.Second // the default
	for b.Loop() {
		c := &setting{job: job, dir: dir, environ: os.Environ(), guard: g, spares: kept}
		if r := c.run(b, exectest.NewStops(), &exectest.Output{}); r.Status != report.AttemptSucceeded {
			b.Fatal(r.Error)
		}
	}
}
