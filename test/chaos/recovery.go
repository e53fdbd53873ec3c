package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/internal/pause"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/test/chaos/watch"
	"github.com/modpipe/modpipe/test/faultproxy"
)

// The times of recovery after a fault, as a distribution. There is one run after the
// other, each with one fault at a random moment. All times are from the recorder, which
// receives the starts of commands.
//
//	worker kill -9        from the kill to the start of the attempt that was lost, on another worker
//	worker cut off        from the beginning of a black hole to the same
//	orchestrator kill -9  a module ends at the moment of the kill; to the start of the next one, by another that serves
//	NATS kill -9          a single node, restarted immediately: a module ends when it is ready again; from then to the start of the next one
//	NATS kill -9, down    the same, from the kill
//	node loss             the leader of the runs' stream, of three, is killed (-9) and a module ends; to the start of the next one

// recovery is a line of the table, and an entry of recovery.json. Seconds.
type recovery struct {
	What   string  `json:"what"`
	Trials int     `json:"trials"`
	Min    float64 `json:"min"`
	P50    float64 `json:"p50"`
	P90    float64 `json:"p90"`
	P99    float64 `json:"p99"`
	Max    float64 `json:"max"`
}

func newRecovery(what string, took []time.Duration) recovery {
	slices.Sort(took)
	// The nearest rank: a time that was measured.
	at := func(percent int) float64 { return took[max((len(took)*percent+99)/100-1, 0)].Seconds() }
	return recovery{what, len(took), at(0), at(50), at(90), at(99), at(100)}
}

// trial is one fault and its measurements.
type trial struct {
	names   []string // of the values that once returns
	crowd   crowd
	modules string // of the pipeline; MEMBER and GATE are replaced by files
	once    func(ctx context.Context, r *rehearsal) ([]time.Duration, error)
}

const header = `
name: recovery
env: {CHAOS: "SOCKET"}
modules:
`

// stays is a pipeline of a module whose first attempt does not end.
const stays = `
  a: {command: ["MEMBER", -hold=1h, -once]}
`

// next is one of two modules, the first of which waits at a gate.
const next = `
  a: {command: ["MEMBER", "-gate=GATE"]}
  b: {needs: [a], command: ["MEMBER"]}
`

func trials() []trial {
	return []trial{
		{[]string{"worker kill -9"}, crowd{1, 2, 1}, stays, killWorker},
		{[]string{"worker cut off"}, crowd{1, 2, 1}, stays, cutWorker},
		{[]string{"orchestrator kill -9"}, crowd{1, 1, 2}, next, killServe},
		{[]string{"NATS kill -9", "NATS kill -9, down"}, crowd{1, 1, 1}, next, killNATS},
		{[]string{"node loss"}, crowd{3, 1, 1}, next, loseNode},
	}
}

// trialPatience bounds every wait of a trial.
const trialPatience = time.Minute

// measure runs count trials of each kind.
func (o *options) measure(ctx context.Context, dir string, say func(string, ...any)) ([]recovery, error) {
	bin, err := build(ctx, dir)
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(o.seed, 0)) //nolint:gosec // chance that can be repeated
	var rows []recovery
	for i, t := range trials() {
		if !strings.HasPrefix(t.names[0], o.only) {
			continue
		}
		home := filepath.Join(dir, fmt.Sprintf("trial-%d", i+1))
		if err := os.Mkdir(home, 0o700); err != nil {
			return rows, err
		}
		took, err := o.measureOne(ctx, t, home, bin, rng, say)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", t.names[0], err)
		}
		for k, name := range t.names {
			rows = append(rows, newRecovery(name, took[k]))
		}
	}
	return rows, nil
}

func (o *options) measureOne(ctx context.Context, t trial, dir string, bin binaries, rng *rand.Rand, say func(string, ...any)) ([][]time.Duration, error) {
	w, err := newWorld(ctx, dir, bin, features{}, t.crowd, rng, say)
	if w != nil {
		defer w.close()
	}
	if err != nil {
		return nil, err
	}
	took := make([][]time.Duration, len(t.names))
	err = w.watching(ctx, func(ctx context.Context) error {
		return w.running(ctx, func(ctx context.Context) error {
			for n := range o.recovery {
				r := &rehearsal{w, fmt.Sprintf("r%d", n+1), filepath.Join(dir, fmt.Sprintf("gate-%d", n+1)), rng}
				times, err := r.play(ctx, t)
				if err != nil {
					return fmt.Errorf("trial %d: %w", n+1, err)
				}
				say("%s, trial %d: %v", t.names[0], n+1, times)
				for k, d := range times {
					took[k] = append(took[k], d)
				}
			}
			return nil
		})
	})
	return took, err
}

// running runs all programs while f runs.
func (w *world) running(ctx context.Context, f func(context.Context) error) error {
	running, stop := context.WithCancel(ctx)
	g, running := errgroup.WithContext(running)
	for _, p := range w.programs {
		g.Go(func() error { return p.run(running) })
	}
	g.Go(func() error {
		defer stop()
		return f(running)
	})
	return g.Wait()
}

// rehearsal is one running trial.
type rehearsal struct {
	*world
	run  string
	gate string
	rng  *rand.Rand
}

// play submits a run, waits until its first module runs, and injects the fault at a
// moment between two heartbeats.
func (r *rehearsal) play(ctx context.Context, t trial) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 3*trialPatience, errNotInTime)
	defer cancel()
	if err := r.ready(ctx); err != nil {
		return nil, err
	}
	file := filepath.Join(r.dir, r.run+".yaml")
	text := strings.NewReplacer("MEMBER", r.at.member, "GATE", r.gate, "SOCKET", r.at.socket).Replace(header + t.modules)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	if code, _, said := r.command(ctx, trialPatience, "run", file, "--detach", "--run-id", r.run); code != 0 {
		return nil, fmt.Errorf("run --detach: exit %d: %s", code, said)
	}
	if _, err := r.starts(ctx, "a", 1); err != nil {
		return nil, err
	}
	if err := pause.For(ctx, 100*time.Millisecond+time.Duration(r.rng.IntN(1000))*time.Millisecond); err != nil {
		return nil, err
	}
	times, err := t.once(ctx, r)
	if err != nil {
		return nil, err
	}
	return times, until(ctx, trialPatience, 50*time.Millisecond, "the run has ended", func() bool {
		ended, err := r.conn.Runs.Ended(ctx, jobsRun(r.run))
		return ended && err == nil
	})
}

// ready waits until every program runs and every worker is registered.
func (r *rehearsal) ready(ctx context.Context) error {
	return until(ctx, trialPatience, 50*time.Millisecond, "all programs are there", func() bool {
		live, err := kv.Workers(ctx, r.conn.Conn)
		known := map[string]bool{}
		for _, w := range live {
			known[w.Name] = true
		}
		for _, p := range r.programs {
			_, name := p.current()
			if err != nil || !p.settled(time.Second) || p.role == roleWorker && !known[name] {
				return false
			}
			delete(known, name)
		}
		return len(known) == 0
	})
}

// starts waits for the start of an attempt.
func (r *rehearsal) starts(ctx context.Context, module string, attempt int) (watch.Exec, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, trialPatience, fmt.Errorf("%w: the start of attempt %d of %s", errNotInTime, attempt, module))
	defer cancel()
	return r.recorder.Await(ctx, func(e *watch.Exec) bool {
		return e.Run == r.run && e.Module == module && e.Attempt == attempt
	})
}

// named finds a program by the name of its process.
func (r *rehearsal) named(name string) (*program, error) {
	for _, p := range r.programs {
		if _, is := p.current(); is == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("no program is named %q", name)
}

// since returns the time from a moment to the start of an attempt.
func (r *rehearsal) since(ctx context.Context, from time.Duration, module string, attempt int) (time.Duration, error) {
	e, err := r.starts(ctx, module, attempt)
	return e.Start - from, err
}

// afterFault injects a fault into the worker of a's first attempt, and
// measures the time until the second attempt starts.
func (r *rehearsal) afterFault(ctx context.Context, begin, end func(*program)) ([]time.Duration, error) {
	a, err := r.starts(ctx, "a", 1)
	if err != nil {
		return nil, err
	}
	p, err := r.named(a.Worker)
	if err != nil {
		return nil, err
	}
	from := r.recorder.Now()
	begin(p)
	defer end(p)
	took, err := r.since(ctx, from, "a", 2)
	return []time.Duration{took}, err
}

func killWorker(ctx context.Context, r *rehearsal) ([]time.Duration, error) {
	return r.afterFault(ctx, (*program).kill, (*program).up)
}

func cutWorker(ctx context.Context, r *rehearsal) ([]time.Duration, error) {
	return r.afterFault(ctx,
		func(p *program) { p.faulty(faultproxy.Fault{Hold: faultproxy.Both}) },
		func(p *program) { p.faulty(faultproxy.Fault{}) })
}

// open lets the run's first module end.
func (r *rehearsal) open() error { return os.WriteFile(r.gate, nil, 0o600) }

func killServe(ctx context.Context, r *rehearsal) ([]time.Duration, error) {
	log, err := r.conn.Runs.Read(ctx, jobsRun(r.run))
	if err != nil {
		return nil, err
	}
	holder := ""
	for _, e := range log {
		if e.Record.Takeover != nil {
			holder = e.Record.Takeover.Orchestrator
		}
	}
	p, err := r.named(holder)
	if err != nil {
		return nil, err
	}
	from := r.recorder.Now()
	p.kill()
	defer p.up()
	if err := r.open(); err != nil {
		return nil, err
	}
	took, err := r.since(ctx, from, "b", 1)
	return []time.Duration{took}, err
}

func killNATS(ctx context.Context, r *rehearsal) ([]time.Duration, error) {
	n := r.nodes[0]
	down := r.recorder.Now()
	n.kill()
	if err := n.up(); err != nil {
		return nil, err
	}
	if err := until(ctx, nodePatience, 2*time.Millisecond, "NATS is ready", func() bool { return n.healthy(ctx) }); err != nil {
		return nil, err
	}
	ready := r.recorder.Now()
	if err := r.open(); err != nil {
		return nil, err
	}
	took, err := r.since(ctx, ready, "b", 1)
	return []time.Duration{took, took + ready - down}, err
}

func loseNode(ctx context.Context, r *rehearsal) ([]time.Duration, error) {
	if err := awaitHealthy(ctx, r.nodes); err != nil {
		return nil, err
	}
	leader, err := r.leader(ctx)
	if err != nil {
		return nil, err
	}
	from := r.recorder.Now()
	leader.kill()
	if err := r.open(); err != nil {
		return nil, err
	}
	took, err := r.since(ctx, from, "b", 1)
	if err != nil {
		return nil, err
	}
	if err := leader.up(); err != nil {
		return nil, err
	}
	return []time.Duration{took}, awaitHealthy(ctx, r.nodes)
}

// leader returns the node that leads the stream of the runs.
func (r *rehearsal) leader(ctx context.Context) (*node, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	answer, err := r.conn.APIOnce(ctx, "STREAM.INFO.MP_RUNS", nil)
	if err != nil {
		return nil, err
	}
	var info struct{ Cluster struct{ Leader string } }
	if err := json.Unmarshal(answer.Data, &info); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(r.nodes, func(n *node) bool { return n.name == info.Cluster.Leader })
	if i < 0 {
		return nil, fmt.Errorf("no node is named %q", info.Cluster.Leader)
	}
	return r.nodes[i], nil
}

// printRecovery prints the table.
func printRecovery(out io.Writer, rows []recovery) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "seconds after\ttrials\tmin\tp50\tp90\tp99\tmax\t")
	for _, r := range rows {
		_, _ = fmt.Fprintf(w, "%s\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t\n", r.What, r.Trials, r.Min, r.P50, r.P90, r.P99, r.Max)
	}
	_ = w.Flush() // standard output
}
