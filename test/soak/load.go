package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// shape is a kind of run.
type shape struct {
	file   string
	status report.RunStatus
	cancel bool // as soon as something runs
	again  bool // once more after it has failed
	copies bool // every attempt has a directory of its own
	redo   bool // every fourth run executes what the cache has
}

var shapes = []shape{
	{status: report.RunSucceeded, file: `
name: chain
modules:
  a: {run: 'echo "v=1" >>"$MODPIPE_OUTPUT"; echo one', outputs: [v]}
  b: {needs: a, env: {V: '${{ needs.a.outputs.v }}'}, run: 'echo "$V"; echo "v=2" >>"$MODPIPE_OUTPUT"', outputs: [v]}
  c: {needs: b, env: {V: '${{ needs.b.outputs.v }}'}, run: 'echo "$V" >&2'}
`},
	{status: report.RunSucceeded, file: `
name: fan
modules:
  f: {matrix: {x: [1, 2, 3, 4]}, run: 'echo $MODPIPE_MATRIX_X', not-in-parallel: disk}
  end: {needs: f, run: 'true'}
`},
	{status: report.RunSucceeded, file: `
name: expanded
modules:
  list: {run: 'echo "all=[1,2,3]" >>"$MODPIPE_OUTPUT"', outputs: [all]}
  work: {needs: list, matrix: {x: '${{ fromJSON(needs.list.outputs.all) }}'}, run: 'echo $MODPIPE_MATRIX_X'}
  none: {needs: list, if: "needs.list.outputs.all == '[]'", run: 'true'}
`},
	{status: report.RunSucceeded, file: `
name: large
modules:
  a: {run: 'printf "big=%0100000d\n" 7 >>"$MODPIPE_OUTPUT"; seq 1 2000', outputs: [big]}
  b: {needs: a, run: 'true', env: {SIZE: '${{ needs.a.outputs.big }}'}}
`},
	{status: report.RunSucceeded, file: `
name: retried
modules:
  a: {run: '[ "$MODPIPE_ATTEMPT" -gt 1 ]', retry: {attempts: 3, delay: 100ms}}
  b: {needs: a, run: 'sleep 0.2'}
`},
	{status: report.RunFailed, again: true, file: `
name: failed
modules:
  good: {run: 'true'}
  bad: {needs: good, run: 'exit 3'}
  after: {needs: bad, run: 'true'}
  always: {needs: bad, always-run: true, run: 'echo report'}
`},
	{status: report.RunSucceeded, copies: true, file: `
name: files
modules:
  make:
    matrix: {n: [1, 2]}
    run: 'mkdir out; seq 1 20000 >out/$MODPIPE_MATRIX_N; echo "$MODPIPE_RUN_ID $MODPIPE_MATRIX_N" >out/run-$MODPIPE_MATRIX_N'
    artifacts: {produce: {out: out}}
  join:
    needs: make
    artifacts: {consume: {name: out, merge: true}, produce: {all: all.txt}}
    run: 'cat out/* >all.txt'
`},
	{status: report.RunSucceeded, copies: true, redo: true, file: `
name: cached
modules:
  build:
    run: 'mkdir out; seq 1 20000 >out/a; cp out/a "$TOOL/a"; cat out/a'
    cache: {inputs: [], portable: true}
    cache-dirs: {tool: {env: TOOL, key: one}}
    artifacts: {produce: {out: out}}
  use: {needs: build, run: 'test -s out/a', artifacts: {consume: [out]}}
`},
	{status: report.RunCancelled, cancel: true, file: `
name: cancelled
modules:
  a: {run: 'exec sleep 600'}
  b: {needs: a, run: 'true'}
`},
	{status: report.RunSucceeded, file: `
name: shared
modules:
  a: {run: 'sleep 0.1', not-in-parallel: {key: database, scope: cluster}}
  b: {run: 'true', limit: {name: licences, max: 1}}
`},
}

// load submits runs and follows each to its end.
type load struct {
	conn  *broker.Conn
	began time.Time

	mu       sync.Mutex
	runs     int // those of submitFor
	stored   int // and those that did one of them again
	attempts int
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.runs
}

// submitFor submits for a while, and returns when every run has ended.
func (l *load) submitFor(ctx context.Context, d time.Duration, rate float64) error {
	var g errgroup.Group
	over := time.NewTimer(d)
	defer over.Stop()
	tick := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer tick.Stop()
	for {
		select {
		case <-over.C:
			return g.Wait()
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), g.Wait())
		case <-tick.C:
			g.Go(func() error { return l.one(ctx) })
		}
	}
}

// patience bounds a run, which normally takes seconds.
const patience = 2 * time.Minute

// one submits a run and follows it.
func (l *load) one(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	l.mu.Lock()
	n := l.runs
	l.runs++
	l.mu.Unlock()
	s := &shapes[n%len(shapes)]
	file, err := pipeline.Parse("soak.yaml", []byte(s.file))
	if err != nil {
		return err
	}
	p, err := file.Bind(nil, func(string) (string, bool) { return "", false })
	if err != nil {
		return err
	}
	run := jobs.RunID(fmt.Sprintf("r%d", n))
	policy := jobs.CachePolicy{Refresh: s.redo && n/len(shapes)%4 == 0}
	if err := l.follow(ctx, s, &jobs.Spec{Run: run, Pipeline: p, Isolated: s.copies, Cache: policy}); err != nil || !s.again {
		return err
	}
	spec, err := client.New(l.conn).Retry(ctx, run, client.Redo{})
	if err != nil {
		return fmt.Errorf("again %s: %w", run, err)
	}
	spec.Run = run + "-again"
	return l.follow(ctx, s, spec)
}

func (l *load) follow(ctx context.Context, s *shape, spec *jobs.Spec) error {
	if err := client.New(l.conn).Submit(ctx, spec); err != nil {
		return err
	}
	l.mu.Lock()
	l.stored++
	l.mu.Unlock()
	cancelled := false
	rep, err := client.New(l.conn).Follow(ctx, spec.Run, client.FollowOptions{Output: true, Sink: func(e report.Event) {
		if e.Event != report.EventModuleStarted {
			return
		}
		l.mu.Lock()
		l.attempts++
		l.mu.Unlock()
		if s.cancel && !cancelled {
			cancelled = true
			if err := client.New(l.conn).Cancel(ctx, spec.Run, jobs.Cancel{By: "soak"}); err != nil {
				say("cancel %s: %v", spec.Run, err)
			}
		}
	}})
	switch {
	case err != nil:
		return fmt.Errorf("follow %s (%s): %w", spec.Run, spec.Pipeline.Name, err)
	case rep.Status != s.status:
		return fmt.Errorf("run %s (%s) %s: %s", spec.Run, spec.Pipeline.Name, rep.Status, rep.Error)
	}
	return nil
}
