package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/report"
)

// tally is the sum of the figures of phases.
type tally struct {
	faults, runs, attempts int
	lost, handedBack       int // attempts
	refused                int // executions, by the fence
	takeovers              int // of runs that another orchestrator had decided for
	stalls                 int
	wrong                  []string
}

func (t *tally) add(o tally) {
	t.faults += o.faults
	t.runs += o.runs
	t.attempts += o.attempts
	t.lost += o.lost
	t.handedBack += o.handedBack
	t.refused += o.refused
	t.takeovers += o.takeovers
	t.stalls += o.stalls
	t.wrong = append(t.wrong, o.wrong...)
}

// hit describes the effects of the faults.
func (t *tally) hit() string {
	return fmt.Sprintf("%d attempts lost, %d handed back, %d executions refused by the fence, %d runs taken over", t.lost, t.handedBack, t.refused, t.takeovers)
}

// count takes the figures from the evidence.
func (t *tally) count(e *evidence) {
	t.runs, t.stalls = len(e.runs), len(e.stalls)
	for _, rep := range e.reports {
		for _, m := range rep.Modules {
			t.attempts += len(m.Attempts)
			for _, a := range m.Attempts {
				switch a.Status {
				case report.AttemptLost:
					t.lost++
				case report.AttemptHandedBack:
					t.handedBack++
				default:
				}
			}
		}
	}
	for i := range e.execs {
		if len(e.execs[i].Refused) > 0 {
			t.refused++
		}
	}
	for _, log := range e.logs {
		for _, entry := range log {
			if entry.Record.Takeover != nil {
				t.takeovers++
			}
		}
		t.takeovers-- // the first one is not a takeover
	}
}

// settling is the time in which all runs must end after the faults.
const settling = 2 * time.Minute

// phase is one world, from its servers' start to the verdict on it.
type phase struct {
	number  int
	nodes   int
	forgets bool          // NATS may lose its store, or the last part of it
	raging  time.Duration // how long faults are injected
	seed    uint64
	dir     string
	bin     binaries
	can     features
	say     func(string, ...any)
}

func (p *phase) run(ctx context.Context) (tally, error) {
	dir := filepath.Join(p.dir, fmt.Sprintf("phase-%d", p.number))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return tally{}, err
	}
	with := ""
	if p.forgets {
		with = " that may lose what it stored"
	}
	p.say("phase %d: %d NATS node(s)%s, faults for %v", p.number, p.nodes, with, p.raging.Round(time.Second))
	chance := func(stream uint64) *rand.Rand {
		return rand.New(rand.NewPCG(p.seed, uint64(p.number)<<8|stream)) //nolint:gosec // chance that can be repeated
	}
	w, err := newWorld(ctx, dir, p.bin, p.can, crowd{nodes: p.nodes, workers: 3, serves: 2}, chance(1), p.say)
	if w != nil {
		defer w.close()
	}
	if err != nil {
		return tally{}, err
	}
	var t tally
	err = w.watching(ctx, func(ctx context.Context) error {
		t, err = p.watched(ctx, w, chance)
		return err
	})
	return t, err
}

func (p *phase) watched(ctx context.Context, w *world, chance func(uint64) *rand.Rand) (tally, error) {
	running, stop := context.WithCancel(ctx)
	defer stop()
	g, running := errgroup.WithContext(running)
	for _, program := range w.programs {
		g.Go(func() error { return program.run(running) })
	}
	l := newLedger()
	w.ledger, w.forgets = l, p.forgets
	g.Go(func() error { return l.follow(running, w.conn) })
	var t tally
	g.Go(func() error {
		defer stop()
		raging, calm := context.WithTimeout(running, p.raging)
		defer calm()
		w.mu.Lock()
		w.calm = calm
		w.mu.Unlock()
		var both errgroup.Group
		both.Go(func() error { w.rage(raging, chance(2)); return nil })
		both.Go(func() error { w.load(raging, chance(3), fmt.Sprintf("c%d-p%d", p.seed, p.number), l); return nil })
		_ = both.Wait() // they have no errors
		if running.Err() != nil {
			return context.Cause(running)
		}
		p.say("phase %d: the faults are over, %d runs go on", p.number, len(l.open()))
		var err error
		t, err = w.judge(running, l)
		return err
	})
	err := g.Wait()
	for _, program := range w.programs {
		t.wrong = append(t.wrong, program.crashes...)
	}
	t.wrong = append(t.wrong, w.failed...)
	t.faults = w.faults
	return t, err
}

// judge waits for the ends of all runs and checks the evidence.
func (w *world) judge(ctx context.Context, l *ledger) (tally, error) {
	var t tally
	began := time.Now()
	patience := settling
	if w.hasFailed() {
		patience = settling / 8 // it will not get better
	}
	err := until(ctx, patience, 100*time.Millisecond, "all runs have ended", func() bool { return len(l.open()) == 0 })
	switch {
	case errors.Is(err, errNotInTime):
		t.wrong = append(t.wrong, fmt.Sprintf("runs have not ended %v after the last fault: %s", patience, strings.Join(l.open(), ", ")))
		return t, nil
	case err != nil:
		return t, err
	}
	w.say("all runs have ended %v after the last fault", time.Since(began).Round(10*time.Millisecond))
	e, err := w.gather(ctx, l)
	if err != nil {
		return t, err
	}
	t.count(e)
	t.wrong = e.verify()
	w.say("checked %d runs, %d attempts, %d executions: %s", t.runs, t.attempts, len(e.execs), t.hit())
	return t, nil
}
