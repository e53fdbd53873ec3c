// Command chaos runs modpipe as its users do, injects faults everywhere, and checks the
// promises from outside.
//
//	chaos -minutes 5 -seed 7 -nodes all
//	chaos -recovery 50 -write test/chaos/recovery.json
//
// # What runs
//
// Each phase has a separate world:
//
//   - one NATS server or a cluster of three, with file stores;
//   - workers, and orchestrators that serve, each behind separate proxies;
//   - runs that are submitted all the time. Their pipelines follow from the seed (chains,
//     fans, diamonds, other graphs; keys, limits, modules that run alone, retries,
//     time-outs, conditions, results of up to a megabyte). Some are submitted twice, some
//     are cancelled.
//
// A third of the time there is one node, a third three, and a third one node that may
// lose stored data.
//
// # What fails
//
//   - Workers, orchestrators and servers are killed (-9), terminated, stopped (SIGSTOP)
//     and started again, under the same name or another.
//   - Connections are slow, reset, refused, or black holes, in both directions or one.
//     Held messages arrive late or never. Some connections have little room.
//   - NATS refuses the programs' login, or gives it too few permissions.
//   - A single server restarts without the last second of acknowledged messages, or
//     without its store.
//
// One node of NATS at a time is at fault. The next fault waits until all nodes are
// current, because three replicas survive the loss of one. The faults and their times
// follow from the seed. The reactions of the processes do not.
//
// # What is checked
//
// Every command reports to a recorder (package watch). The connection ends with the
// process. After the faults are over and every run has ended, chaos checks:
//
//   - Each run and module ended as its plan allows.
//   - Every attempt has one outcome, and no module succeeded twice.
//   - No module started before its needs had ended, and each received the committed
//     results.
//   - The history of every key and limit is that of a lock (porcupine finds an order). A
//     worker that was paused may be an exception, and then the fence refused it.
//   - No process and no job of an ended run is left.
//   - No program ended without a signal.
//
// The last line is the verdict. The exit code is 0 when all promises held. Otherwise
// chaos keeps the output of the processes and prints the directory.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

func main() {
	o := options{}
	flag.Float64Var(&o.minutes, "minutes", 5, "how long, faults and checks together")
	flag.Uint64Var(&o.seed, "seed", 0, "of what fails and what runs (default: drawn)")
	flag.StringVar(&o.nodes, "nodes", "all", "of NATS: 1, 3, loss (1 that may lose what it stored) or all in turn")
	flag.IntVar(&o.recovery, "recovery", 0, "measure how long it takes to go on after a fault instead, so many times each")
	flag.StringVar(&o.only, "only", "", "the faults of -recovery whose names begin so")
	flag.StringVar(&o.write, "write", "", "where the figures of -recovery go, as JSON")
	flag.Parse()
	if o.seed == 0 {
		o.seed = rand.Uint64N(1_000_000) + 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM) //nolint:forbidigo // main creates one
	defer stop()
	if !o.run(ctx) {
		os.Exit(1) //nolint:gocritic // stop has nothing left to do
	}
}

type options struct {
	minutes float64
	seed    uint64
	nodes   string

	recovery int
	only     string
	write    string
}

// turn is the kind of servers of a phase.
type turn struct {
	nodes   int
	forgets bool
}

// plan plans the phases. A phase of a long run is no longer than longest, because its
// checks read all evidence together.
func (o *options) plan() (phases []turn, each time.Duration, err error) {
	total := time.Duration(o.minutes * float64(time.Minute))
	turns := map[string][]turn{
		"1": {{nodes: 1}}, "3": {{nodes: 3}}, "loss": {{nodes: 1, forgets: true}},
		"all": {{nodes: 1}, {nodes: 3}, {nodes: 1, forgets: true}},
	}[o.nodes]
	if turns == nil {
		return nil, 0, fmt.Errorf("-nodes %q: want 1, 3, loss or all", o.nodes)
	}
	for len(phases) == 0 || total/time.Duration(len(phases)) > longest {
		phases = append(phases, turns...)
	}
	return phases, total / time.Duration(len(phases)), nil
}

const (
	longest = 5 * time.Minute
	// checking is the usual time of a phase besides its faults.
	checking = 20 * time.Second
	// least is the least time for which faults are injected.
	least = 10 * time.Second
)

// run runs all phases and prints the verdict. It returns true when all promises held.
func (o *options) run(ctx context.Context) bool {
	began := time.Now()
	say := speaker(began)
	dir, err := os.MkdirTemp("", "modpipe-chaos-")
	if err != nil {
		fmt.Println("chaos: FAILED:", err)
		return false
	}
	if o.recovery > 0 {
		return o.recoveries(ctx, dir, say)
	}
	t, err := o.phases(ctx, dir, say)
	if err != nil {
		t.wrong = append(t.wrong, err.Error())
	}
	for _, what := range t.wrong {
		say("WRONG: %s", what)
	}
	sum := fmt.Sprintf("%v, seed %d, %d faults, %d runs, %d attempts", time.Since(began).Round(time.Second), o.seed, t.faults, t.runs, t.attempts)
	if t.stalls > 0 {
		sum += fmt.Sprintf(" (the machine stood still %d times)", t.stalls)
	}
	say("faults hit: %s", t.hit())
	if len(t.wrong) > 0 {
		fmt.Printf("chaos: FAILED: %d wrong, the first: %s; %s; logs in %s\n", len(t.wrong), t.wrong[0], sum, dir)
		return false
	}
	_ = os.RemoveAll(dir) // of the temporary directory
	fmt.Println("chaos: ok:", sum)
	return true
}

// recoveries measures, and prints the table.
func (o *options) recoveries(ctx context.Context, dir string, say func(string, ...any)) bool {
	rows, err := o.measure(ctx, dir, say)
	printRecovery(os.Stdout, rows)
	if err == nil && o.write != "" {
		var text []byte
		if text, err = json.MarshalIndent(rows, "", "  "); err == nil {
			err = os.WriteFile(o.write, append(text, '\n'), 0o644) //nolint:gosec // figures, for anyone
		}
	}
	if err != nil {
		fmt.Printf("chaos: FAILED: %v; seed %d; logs in %s\n", err, o.seed, dir)
		return false
	}
	_ = os.RemoveAll(dir) // of the temporary directory
	fmt.Printf("chaos: ok: %d trials each, seed %d\n", o.recovery, o.seed)
	return true
}

func (o *options) phases(ctx context.Context, dir string, say func(string, ...any)) (tally, error) {
	var sum tally
	turns, each, err := o.plan()
	if err != nil {
		return sum, err
	}
	say("building the programs")
	bin, err := build(ctx, dir)
	if err != nil {
		return sum, err
	}
	can, err := probe(ctx, dir, bin)
	if err != nil {
		return sum, err
	}
	say("keys of the cluster: %v", can.clusterKeys)
	for i, turn := range turns {
		p := &phase{number: i + 1, nodes: turn.nodes, forgets: turn.forgets, raging: max(each-checking, least), seed: o.seed, dir: dir, bin: bin, can: can, say: say}
		t, err := p.run(ctx)
		sum.add(t)
		if err != nil && !errors.Is(err, context.Canceled) {
			return sum, fmt.Errorf("phase %d: %w", i+1, err)
		}
		if ctx.Err() != nil {
			return sum, errors.New("interrupted")
		}
		if len(t.wrong) == 0 {
			_ = os.RemoveAll(filepath.Join(dir, fmt.Sprintf("phase-%d", i+1))) // nothing to see
		}
	}
	return sum, nil
}

// speaker prints a line with the time since the beginning.
func speaker(began time.Time) func(string, ...any) {
	var mu sync.Mutex
	return func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf("%7.1fs  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
}
