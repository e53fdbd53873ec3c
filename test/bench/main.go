// Command bench measures the cost of a module in modpipe and, in the same run, the floor:
// the durable cycle on JetStream that every module needs. The machine's speed drifts, but
// the ratio of the two stays.
//
// Three works, each in two modes:
//
//	F  10,000 modules that do nothing and need nothing
//	C  a chain of 1,000
//	L  100 layers of 100, each module needing all of the layer before
//
//	in-process  server, orchestrator and worker in one process
//	processes   a server, two workers and the orchestrator, each a process
//
// `bench keys` measures what signatures cost (keys.go). `bench view` measures the cost of the live view (view.go). `bench schedule` measures the
// times of real graphs in virtual time (schedule.go). `bench link` measures how much of a
// slow or distant link values and logs use (link.go). `bench files` measures how trees of
// files travel (files.go). `bench locality` plays how many bytes real graphs move (locality.go).
//
// Every measurement has its own processes, started for it; the figures of
// memory are their high-water marks. It prints a table and writes core.json.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/modpipe/modpipe/internal/heap"
)

// row is a line of the table, and an entry of core.json.
type row struct {
	Work            string  `json:"work"`
	Mode            string  `json:"mode"`
	ModulesPerS     float64 `json:"modules_per_s"`
	FloorPerS       float64 `json:"floor_per_s"`
	HopUS           float64 `json:"hop_us"`       // of C: from one module's end to the next one's
	FloorHopUS      float64 `json:"floor_hop_us"` // of C
	CPUUSPerModule  float64 `json:"cpu_us_per_module"`
	FloorCPUUS      float64 `json:"floor_cpu_us_per_module"`
	PeakRSSMB       float64 `json:"peak_rss_mb"` // of the largest process
	ShareOfTheFloor float64 `json:"share_of_the_floor"`
}

func main() {
	heap.Tune() // as both programs do
	if len(os.Args) > 1 {
		if role, ok := roles()[os.Args[1]]; ok {
			exit(role(os.Args[2:]))
		}
	}
	out := flag.String("out", "test/bench/core.json", "where the figures go")
	rounds := flag.Int("rounds", 3, "how often each is measured; the median counts")
	only := flag.String("only", "", "works to measure, as letters (default: all)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(run(ctx, *out, *rounds, *only))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(ctx context.Context, out string, rounds int, only string) error {
	var rows []row
	for _, w := range works() {
		if only != "" && !strings.Contains(only, w.name) {
			continue
		}
		for _, mode := range []string{inProcess, processes} {
			r, err := measure(ctx, w, mode, rounds)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", w.name, mode, err)
			}
			rows = append(rows, r)
		}
	}
	table(rows)
	text, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(text, '\n'), 0o644) //nolint:gosec // figures, for anyone
}

// measure takes engine and floor in turn, so that both see the same machine.
func measure(ctx context.Context, w work, mode string, rounds int) (row, error) {
	var engines, floors []figures
	for range rounds {
		for role, into := range map[string]*[]figures{"engine": &engines, "floor": &floors} {
			f, err := child(ctx, role, w.name, mode)
			if err != nil {
				return row{}, fmt.Errorf("%s: %w", role, err)
			}
			*into = append(*into, f)
			fmt.Fprintf(os.Stderr, "%s %-10s %-6s %8.0f /s\n", w.name, mode, role, float64(w.modules)/f.Seconds)
		}
	}
	e, f := median(engines), median(floors)
	n := float64(w.modules)
	r := row{
		Work: w.name, Mode: mode, ModulesPerS: n / e.Seconds, FloorPerS: n / f.Seconds,
		CPUUSPerModule: e.CPUSeconds / n * 1e6, FloorCPUUS: f.CPUSeconds / n * 1e6, PeakRSSMB: e.PeakMB,
		ShareOfTheFloor: f.Seconds / e.Seconds,
	}
	if w.flight == 1 {
		r.HopUS, r.FloorHopUS = e.Seconds/n*1e6, f.Seconds/n*1e6
	}
	return r, nil
}

// median is the measurement with the median time.
func median(all []figures) figures {
	slices.SortFunc(all, func(a, b figures) int { return cmp.Compare(a.Seconds, b.Seconds) })
	return all[len(all)/2]
}

// child measures once, in its own process.
func child(ctx context.Context, role, work, mode string) (figures, error) {
	self, err := os.Executable()
	if err != nil {
		return figures{}, err
	}
	cmd := exec.CommandContext(ctx, self, role, work, mode)
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return figures{}, err
	}
	var f figures
	return f, json.Unmarshal(text, &f)
}

func table(rows []row) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "work\tmode\tmodules/s\tfloor/s\tof the floor\thop µs\tfloor hop µs\tratio\tCPU µs\tfloor CPU µs\tpeak MB\t")
	for _, r := range rows {
		hop, floorHop, ratio := "-", "-", "-"
		if r.HopUS > 0 {
			hop, floorHop, ratio = fmt.Sprintf("%.0f", r.HopUS), fmt.Sprintf("%.0f", r.FloorHopUS), fmt.Sprintf("%.2f", r.HopUS/r.FloorHopUS)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%.0f\t%.0f\t%.0f %%\t%s\t%s\t%s\t%.0f\t%.0f\t%.0f\t\n",
			r.Work, r.Mode, r.ModulesPerS, r.FloorPerS, 100*r.ShareOfTheFloor, hop, floorHop, ratio, r.CPUUSPerModule, r.FloorCPUUS, r.PeakRSSMB)
	}
	_ = w.Flush() // standard output
}
