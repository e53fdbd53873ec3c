package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkModules runs 5,000 modules of `true`: standalone, over two workers,
// and, to compare with, the same commands under xargs -P.
func BenchmarkModules(b *testing.B) {
	const n = 5000
	var yaml strings.Builder
	yaml.WriteString("name: bench\nmodules:\n")
	for i := range n {
		fmt.Fprintf(&yaml, "  m%d: {run: 'true'}\n", i)
	}
	args := []string{"--progress", "quiet"}
	b.Run("standalone", func(b *testing.B) {
		for b.Loop() {
			p := newPlace(b, standalone)
			benchmarkRun(b, p, yaml.String(), args)
		}
	})
	b.Run("two workers", func(b *testing.B) {
		for b.Loop() {
			p := newPlace(b, workers)
			p.server(b)
			p.worker(b, "w1")
			p.worker(b, "w2")
			benchmarkRun(b, p, yaml.String(), args)
		}
	})
	b.Run("xargs", func(b *testing.B) {
		for b.Loop() {
			cmd := exec.CommandContext(b.Context(), "sh", "-c", fmt.Sprintf(`seq %d | xargs -P "$(nproc)" -I{} sh -euc true`, n))
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
		}
	})
}

// benchmarkRun runs a pipeline and reports the peak memory of the orchestrator.
func benchmarkRun(b *testing.B, p *place, yaml string, args []string) {
	b.Helper()
	file := filepath.Join(p.workspace, "bench.yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o644); err != nil {
		b.Fatal(err)
	}
	o := start(b, p.workspace, p.env(), binaries.orchestrator, append(append([]string{"run", file}, args...), p.connection()...)...)
	o.patience = 15 * time.Minute
	o.wait(b)
	if o.exit() != 0 {
		b.Fatalf("exit %d: %s", o.exit(), o.stderrText())
	}
	if usage, ok := o.cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		b.ReportMetric(float64(usage.Maxrss)/1024, "MiB")
	}
}
