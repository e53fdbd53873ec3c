package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/pause"
)

// ledger has the submitted runs and the ended ones.
type ledger struct {
	mu     sync.Mutex
	runs   []submitted
	ended  map[string]bool
	forgot map[string]bool // runs that NATS has lost altogether
}

func newLedger() *ledger { return &ledger{ended: map[string]bool{}, forgot: map[string]bool{}} }

// reconcile reads every run after a loss of NATS. It drops the runs that NATS has lost.
// A run that had ended may be open again.
func (l *ledger) reconcile(knows func(run string) (there, ended bool)) {
	for _, s := range l.all() {
		there, ended := knows(s.plan.run)
		l.mu.Lock()
		l.forgot[s.plan.run] = !there
		l.ended[s.plan.run] = ended
		l.mu.Unlock()
	}
}

// survived returns the runs that NATS has not lost.
func (l *ledger) survived() []submitted {
	l.mu.Lock()
	defer l.mu.Unlock()
	var kept []submitted
	for _, s := range l.runs {
		if !l.forgot[s.plan.run] {
			kept = append(kept, s)
		}
	}
	return kept
}

func (l *ledger) add(p plan) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs = append(l.runs, submitted{plan: p})
}

func (l *ledger) cancelled(run string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.runs {
		if l.runs[i].plan.run == run {
			l.runs[i].cancelled = true
		}
	}
}

// open returns the runs that have not ended.
func (l *ledger) open() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var open []string
	for _, s := range l.runs {
		if !l.ended[s.plan.run] && !l.forgot[s.plan.run] {
			open = append(open, s.plan.run)
		}
	}
	return open
}

func (l *ledger) all() []submitted {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.runs)
}

// follow receives the ends of runs until ctx ends.
func (l *ledger) follow(ctx context.Context, c *broker.Conn) error {
	changes := make(chan broker.RunChange)
	var hearing sync.WaitGroup
	defer hearing.Wait()
	defer close(changes)
	hearing.Go(func() {
		for c := range changes {
			if c.Ended {
				l.mu.Lock()
				l.ended[string(c.Run)] = true
				l.mu.Unlock()
			}
		}
	})
	return c.Runs.Watch(ctx, changes)
}

const (
	atOnce    = 5                // runs at the same time
	commandIn = 60 * time.Second // a command of the orchestrator
)

// load submits runs until ctx ends. It returns when every submission has an answer.
func (w *world) load(ctx context.Context, rng *rand.Rand, prefix string, l *ledger) {
	var commands sync.WaitGroup
	defer commands.Wait()
	answered := context.WithoutCancel(ctx)
	for n := 1; ; n++ {
		if pause.For(ctx, 300*time.Millisecond+time.Duration(rng.IntN(1200))*time.Millisecond) != nil {
			return
		}
		if len(l.open()) >= atOnce {
			n--
			continue
		}
		p := makePlan(rng, fmt.Sprintf("%s-%d", prefix, n), w.can)
		file := filepath.Join(w.dir, p.run+".yaml")
		if err := os.WriteFile(file, []byte(p.yaml(w.at)), 0o600); err != nil {
			w.fail("%v", err)
			return
		}
		l.add(p)
		way := rng.IntN(8)
		commands.Go(func() { w.submit(answered, &p, file, way) })
		if rng.IntN(8) == 0 {
			after := time.Duration(rng.IntN(3000)) * time.Millisecond
			commands.Go(func() {
				if pause.For(answered, after) == nil {
					w.cancel(answered, p.run, l)
				}
			})
		}
	}
}

// submit submits a run, mostly once and detached. Sometimes it submits a run twice at the
// same time, or executes it in the submitting process.
func (w *world) submit(ctx context.Context, p *plan, file string, way int) {
	switch way {
	case 0:
		w.foreground(ctx, p, file)
	case 1:
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() { w.detached(ctx, p, file) })
		}
		both.Wait()
	default:
		w.detached(ctx, p, file)
	}
}

// detached submits a run. It repeats this while NATS is down.
func (w *world) detached(ctx context.Context, p *plan, file string) {
	for range 10 {
		code, out, said := w.command(ctx, commandIn, "run", file, "--detach", "--run-id", p.run)
		switch {
		case code == 0 && strings.TrimSpace(out) != p.run:
			w.fail("run --detach %s printed %q", p.run, out)
			return
		case code == 0:
			return
		case code != 3:
			w.fail("run --detach %s: exit %d: %s", p.run, code, said)
			return
		}
		if pause.For(ctx, time.Second) != nil {
			return
		}
	}
	w.fail("run --detach %s: NATS was away ten times", p.run)
}

// foreground executes a run.
func (w *world) foreground(ctx context.Context, p *plan, file string) {
	for range 10 {
		code, _, said := w.command(ctx, 10*time.Minute, "run", file, "--run-id", p.run, "--progress", "quiet")
		switch code {
		case 0, 1:
			return // the report has the verdict
		case 3:
			if w.lostSomething() {
				return // the log may exist: a serving orchestrator continues the run
			}
			if ended, err := w.conn.Runs.Exists(ctx, jobsRun(p.run)); err == nil && !ended {
				continue // it did not get so far
			}
		}
		w.fail("run %s: exit %d: %s", p.run, code, said)
		return
	}
}

// cancel requests the end of a run once. The request may get lost.
func (w *world) cancel(ctx context.Context, run string, l *ledger) {
	l.cancelled(run)
	code, _, said := w.command(ctx, commandIn, "runs", "cancel", run)
	w.say("run %s: cancelled, exit %d", run, code)
	if code != 0 && code != 3 && code != 5 {
		w.fail("runs cancel %s: exit %d: %s", run, code, said)
	}
}

// command runs a command of the orchestrator to its end.
func (w *world) command(ctx context.Context, patience time.Duration, args ...string) (code int, out, said string) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.bin.orchestrator, append(args, "--server", w.direct())...) //nolint:gosec // our own program
	cmd.Dir, cmd.Env = w.dir, w.env()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var ended *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return -1, stdout.String(), fmt.Sprintf("still there after %v: %s", patience, stderr.String())
	case err != nil && !errors.As(err, &ended):
		return -1, "", err.Error()
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
}
