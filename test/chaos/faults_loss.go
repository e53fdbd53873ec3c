package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/pause"
)

// lossFault draws a restart of the only NATS node in which it loses acknowledged
// messages: the last part of its store, as after a power cut, or all.
func (w *world) lossFault(ctx context.Context, rng *rand.Rand, n *node) fault {
	back := time.Duration(100+rng.IntN(900)) * time.Millisecond
	down := time.Duration(rng.IntN(1500)) * time.Millisecond
	f := fault{what: fmt.Sprintf("the last %v are lost", back), act: func() { w.loseTail(ctx, n, back, down) }}
	if rng.IntN(4) == 0 {
		f = fault{what: "the store is lost", act: func() { w.loseStore(ctx, n, down) }}
	}
	return f
}

// loseTail kills the node and replaces its store by a copy from shortly before.
func (w *world) loseTail(ctx context.Context, n *node, back, down time.Duration) {
	store, kept := filepath.Join(n.dir, n.name), filepath.Join(n.dir, n.name+"-kept")
	n.signal(syscall.SIGSTOP)
	err := os.CopyFS(kept, os.DirFS(store))
	n.signal(syscall.SIGCONT)
	from := w.recorder.Now()
	if err != nil {
		w.fail("copy the store of %s: %v", n.name, err)
		return
	}
	_ = pause.For(ctx, back)
	w.lose(ctx, n, from, down, func() error {
		return errors.Join(os.RemoveAll(store), os.Rename(kept, store))
	})
}

func (w *world) loseStore(ctx context.Context, n *node, down time.Duration) {
	w.lose(ctx, n, 0, down, func() error { return os.RemoveAll(filepath.Join(n.dir, n.name)) })
}

// lose kills the node, changes its store, starts it again, and drops the runs that it has
// lost.
func (w *world) lose(ctx context.Context, n *node, from, down time.Duration, change func() error) {
	n.kill()
	err := change()
	_ = pause.For(ctx, down)
	if err = errors.Join(err, n.up()); err != nil {
		w.fail("lose something of %s: %v", n.name, err)
		return
	}
	ctx = context.WithoutCancel(ctx) // the checks need a sound server
	if err := awaitHealthy(ctx, w.nodes); err != nil {
		w.fail("after a loss of %s: %v", n.name, err)
	}
	w.mu.Lock()
	w.losses = append(w.losses, interval{from, w.recorder.Now()})
	w.mu.Unlock()
	w.ledger.reconcile(w.knows(ctx))
}

// knows asks NATS for a run: whether it has a log, and whether it has ended.
func (w *world) knows(ctx context.Context) func(run string) (there, ended bool) {
	return func(run string) (there, ended bool) {
		err := until(ctx, nodePatience, 100*time.Millisecond, "NATS answers", func() bool {
			asked, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			log, err := w.conn.Runs.Read(asked, jobsRun(run))
			if errors.Is(err, broker.ErrNotFound) {
				there, ended = false, false
				return true
			}
			there = len(log) > 0
			ended = there && log[len(log)-1].Record.End != nil
			return err == nil
		})
		if err != nil {
			w.fail("ask for run %s after a loss: %v", run, err)
		}
		return there, ended
	}
}

// lostSomething reports whether NATS has lost anything yet.
func (w *world) lostSomething() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.losses) > 0
}
