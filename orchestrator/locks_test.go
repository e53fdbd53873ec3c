package orchestrator_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/locks"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/orchestrator"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
	"github.com/modpipe/modpipe/worker"
)

// user is a run with one module that holds db. The module fails when another
// one is inside, appends its token to the file tokens, creates the file name, and
// stays inside until the file go exists.
func user(name string) string {
	return fmt.Sprintf(`
name: user
modules:
  m:
    not-in-parallel: [{key: db, scope: cluster}]
    run: |
      mkdir inside
      echo "$MODPIPE_FENCING_TOKEN" >>tokens
      touch %s
      i=0; until [ -e go ]; do i=$((i+1)); [ $i -lt 10000 ]; sleep 0.02; done
      rmdir inside
`, name)
}

// led is a run with its own orchestrator.
type led struct {
	s      *site
	id     jobs.RunID
	stop   context.CancelFunc
	waits  chan report.Event
	finish func() error
}

// lead runs an orchestrator for a run until the run has ended or stop is called.
func (s *site) lead(id jobs.RunID) *led {
	s.t.Helper()
	return s.leadAs(id, orchestrator.Config{})
}

// leadAs is lead with a configuration.
func (s *site) leadAs(id jobs.RunID, cfg orchestrator.Config) *led {
	s.t.Helper()
	ctx, stop := context.WithCancel(s.ctx)
	r := &led{s: s, id: id, stop: stop, waits: make(chan report.Event, 100)}
	conn := s.connect()
	var g errgroup.Group
	g.Go(func() error {
		cfg.Name, cfg.Fleet = "of-"+string(id), func(e report.Event) {
			if e.Event == report.EventWaiting {
				r.waits <- e
			}
		}
		_, err := orchestrator.Run(ctx, conn, id, cfg)
		return err
	})
	r.finish = g.Wait
	s.t.Cleanup(func() {
		stop()
		_ = g.Wait() // a test that needs the error calls finish
	})
	return r
}

// start submits a run and leads it.
func (s *site) start(id jobs.RunID, src string) *led {
	s.t.Helper()
	s.submit(id, src)
	return s.lead(id)
}

// waiting returns the lock that the run's module waits for.
func (r *led) waiting() string {
	r.s.t.Helper()
	select {
	case e := <-r.waits:
		return e.Missing
	case <-r.s.ctx.Done():
		r.s.t.Fatalf("run %s does not wait", r.id)
		return ""
	}
}

// succeeds waits for the run's end, and checks that the run has succeeded.
func (r *led) succeeds() {
	r.s.t.Helper()
	if err := r.finish(); err != nil {
		r.s.t.Fatal(err)
	}
	rep, err := client.New(r.s.conn).Show(r.s.ctx, r.id)
	if err != nil {
		r.s.t.Fatal(err)
	}
	if rep.Status != report.RunSucceeded {
		r.s.t.Errorf("run %s %s: %s", r.id, rep.Status, rep.Error)
	}
}

func (s *site) touch(name string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), nil, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// appears waits until a module has created a file.
func (s *site) appears(name string) {
	s.t.Helper()
	for {
		if _, err := os.Stat(filepath.Join(s.dir, name)); err == nil {
			return
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-s.ctx.Done():
			s.t.Fatalf("%s does not appear", name)
		}
	}
}

// tokens returns the fencing tokens in the order of the starts.
func (s *site) tokens() []int {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, "tokens"))
	if err != nil {
		s.t.Fatal(err)
	}
	var tokens []int
	for word := range strings.FieldsSeq(string(data)) {
		n, err := strconv.Atoi(word)
		if err != nil {
			s.t.Fatal(err)
		}
		tokens = append(tokens, n)
	}
	return tokens
}

func (s *site) locks() *kv.Locks {
	s.t.Helper()
	l, err := kv.OpenLocks(s.ctx, s.conn.Conn)
	if err != nil {
		s.t.Fatal(err)
	}
	return l
}

// free checks that a lock has no holders.
func (s *site) free(lock jobs.Lock) {
	s.t.Helper()
	if held, err := s.locks().Holders(s.ctx, lock); err != nil || len(held) > 0 {
		s.t.Errorf("%s is held by %v: %v", lock.Name, held, err)
	}
}

var db = jobs.Lock{Name: "db", Max: 1}

// TestClusterKeyIsHeldByOneRunAtATime: two runs never hold a key at the same time,
// and their fencing tokens grow.
func TestClusterKeyIsHeldByOneRunAtATime(t *testing.T) {
	t.Parallel()
	s := newSite(t, 2)
	first := s.start("r1", user("one"))
	s.appears("one")
	second := s.start("r2", user("two"))
	if got, want := second.waiting(), "key db of the cluster, which m of run r1 holds"; got != want {
		t.Errorf("waits for %q, want %q", got, want)
	}
	s.touch("go")
	first.succeeds()
	second.succeeds()
	if tokens := s.tokens(); len(tokens) != 2 || tokens[0] >= tokens[1] || tokens[0] < 1 {
		t.Errorf("tokens %v", tokens)
	}
	s.free(db)
}

// TestManyRunsHoldAKeyInTurn: modules of several runs hold two keys one at a time,
// and all of them finish.
func TestManyRunsHoldAKeyInTurn(t *testing.T) {
	t.Parallel()
	s := newSite(t, 2)
	const src = `
name: many
modules:
  m:
    matrix: {n: [1, 2, 3]}
    not-in-parallel: [{key: db, scope: cluster}, {key: other, scope: cluster}]
    run: mkdir inside; echo "$MODPIPE_FENCING_TOKEN" >>tokens; rmdir inside
  alone: {not-in-parallel: {key: other, scope: cluster}, run: "true"}
`
	var runs []*led
	for i := range 4 {
		runs = append(runs, s.start(jobs.RunID(fmt.Sprintf("r%d", i)), src))
	}
	for _, r := range runs {
		r.succeeds()
	}
	tokens := s.tokens()
	if len(tokens) != 12 || !slices.IsSorted(tokens) || len(slices.Compact(tokens)) != 12 {
		t.Errorf("tokens %v", tokens)
	}
	s.free(db)
	s.free(jobs.Lock{Name: "other", Max: 1})
}

// TestClusterLimitBoundsItsHolders: of three runs two hold the limit. The third one
// gets it when one of them has released it.
func TestClusterLimitBoundsItsHolders(t *testing.T) {
	t.Parallel()
	s := newSite(t, 2)
	src := func(name, until string) string {
		return fmt.Sprintf(`
name: limit
limits: {licences: {max: 2, scope: cluster}}
modules:
  m:
    limit: licences
    run: |
      touch in-%s
      test "$(ls in-* | wc -l)" -le 2
      touch %s
      i=0; until [ -e %s ]; do i=$((i+1)); [ $i -lt 10000 ]; sleep 0.02; done
      rm in-%s
`, name, name, until, name)
	}
	one, two := s.start("r1", src("one", "go-one")), s.start("r2", src("two", "go-two"))
	s.appears("one")
	s.appears("two")
	three := s.start("r3", src("three", "go-three"))
	if got := three.waiting(); !strings.HasPrefix(got, "limit licences of the cluster, which m of run r") {
		t.Errorf("waits for %q", got)
	}
	s.touch("go-two")
	two.succeeds()
	s.appears("three")
	s.touch("go-one")
	s.touch("go-three")
	one.succeeds()
	three.succeeds()
	s.free(jobs.Lock{Name: "licences", Limit: true, Max: 2})
}

// TestKeyIsHeldUntilTheAttemptIsClosed: the orchestrator of a run stops, and the
// worker continues. The run's key stays held until the worker has recorded the
// outcome of the attempt.
func TestKeyIsHeldUntilTheAttemptIsClosed(t *testing.T) {
	t.Parallel()
	s := newSite(t, 2)
	const slow = `
name: slow
modules:
  m: {not-in-parallel: {key: db, scope: cluster}, run: "mkdir inside; touch one; echo $MODPIPE_FENCING_TOKEN >>tokens; sleep 6; rmdir inside"}
`
	first := s.start("r1", slow)
	s.appears("one")
	first.stop()
	_ = first.finish() // cancelled
	s.touch("go")
	s.start("r2", user("two")).succeeds()
	if tokens := s.tokens(); len(tokens) != 2 || tokens[0] >= tokens[1] {
		t.Errorf("tokens %v", tokens)
	}
	log := s.log("r1")
	if last := log[len(log)-1].Record.Outcome; last == nil || last.Status != report.AttemptSucceeded || last.By != "" {
		t.Errorf("the log of the holder's run ends with %+v", log[len(log)-1].Record)
	}
	if epoch := takeovers(log); epoch != 1 {
		t.Errorf("the holder's run was taken over %d times", epoch)
	}
	s.lead("r1").succeeds() // another orchestrator continues it
	s.free(db)
}

func (s *site) log(run jobs.RunID) []jobs.Entry {
	s.t.Helper()
	log, err := s.conn.Runs.Read(s.ctx, run)
	if err != nil {
		s.t.Fatal(err)
	}
	return log
}

func takeovers(log []jobs.Entry) int {
	n := 0
	for _, e := range log {
		if e.Record.Takeover != nil {
			n++
		}
	}
	return n
}

// holding enters an attempt of a run as a holder of db. It simulates an
// orchestrator that died afterwards.
func (s *site) holding(run jobs.RunID) {
	s.t.Helper()
	others, err := locks.Acquire(s.ctx, s.locks(), db, jobs.Holder{Run: run, Module: "m", Attempt: 1, Epoch: 1})
	if err != nil || len(others) > 0 {
		s.t.Fatal(err, others)
	}
}

// TestLockOfAnEndedRunIsFree: a lock of an ended or an unknown run is free. An
// orchestrator that is started for an ended run releases the locks of the run.
func TestLockOfAnEndedRunIsFree(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1)
	s.touch("go")
	s.start("r1", "name: p\nmodules: {other: {run: 'true'}}").succeeds()
	for i, run := range []jobs.RunID{"r1", "gone"} {
		s.holding(run)
		s.start(jobs.RunID(fmt.Sprintf("next%d", i)), user("x")).succeeds()
	}
	s.free(db)
	others, err := locks.Acquire(s.ctx, s.locks(), db, jobs.Holder{Run: "next0", Module: "m", Attempt: 1, Epoch: 1})
	if err != nil || len(others) > 0 {
		t.Fatal(err, others)
	}
	s.lead("next0").succeeds()
	s.free(db)
}

// TestAttemptOfAnOrphanedRunIsClosed: another run closes an attempt of a run without
// an orchestrator before it acquires the attempt's lock. It closes an attempt
// without a claim as handed back, after it has removed the job. It closes an
// attempt as lost when the worker is gone. An orchestrator that continues the run
// later runs the next attempt.
func TestAttemptOfAnOrphanedRunIsClosed(t *testing.T) {
	t.Parallel()
	for _, claimed := range []bool{false, true} {
		t.Run(fmt.Sprintf("claimed=%v", claimed), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, 1)
			s.touch("go")
			s.submit("orphan", strings.Replace(user("one"), "    run:", "    requires: {tags: late}\n    run:", 1))
			s.holding("orphan")
			job := s.queue("orphan", "m")
			want, led := report.AttemptHandedBack, 1
			if claimed {
				want, led = report.AttemptLost, 2
				s.takenBy("orphan", "dead")
				s.claim("orphan", "m", "dead")
			}
			next := s.start("next", user("two"))
			next.waiting()
			next.succeeds()
			log := s.log("orphan")
			last := log[len(log)-1].Record.Outcome
			if last == nil || last.Status != want || last.By != "of-next" || last.Attempt != 1 ||
				!strings.HasSuffix(last.Error, " (recorded by orchestrator of-next)") {
				t.Errorf("the log of the orphan ends with %+v", log[len(log)-1].Record)
			}
			if n := takeovers(log); n != led {
				t.Errorf("%d takeovers, want %d", n, led)
			}
			if queued, err := s.conn.Queue.Has(s.ctx, job.Lane, "orphan", jobs.AttemptID{Module: "m", Attempt: 1}); err != nil || queued != claimed {
				t.Errorf("its job is in the queue: %v, %v", queued, err)
			}
			s.workerOf(worker.Config{Name: "late", Tags: []string{"late"}})
			s.lead("orphan").succeeds()
			if tokens := s.tokens(); len(tokens) != 2 || tokens[0] >= tokens[1] {
				t.Errorf("tokens %v", tokens)
			}
			s.free(db)
		})
	}
}

// TestLockThatWasNeverGrantedIsFreeAfterTakeover: an orchestrator died after it had
// acquired a limit for one module and before it granted the limit. The next
// orchestrator begins with the module that runs alone and needs the same limit.
func TestLockThatWasNeverGrantedIsFreeAfterTakeover(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1)
	s.submit("r1", `
name: p
limits: {licence: {max: 1, scope: cluster}}
modules:
  m: {limit: licence, run: 'true'}
  alone: {not-in-parallel: true, priority: high, limit: licence, run: 'true'}
`)
	s.takenBy("r1", "dead")
	licence := jobs.Lock{Name: "licence", Limit: true, Max: 1}
	others, err := locks.Acquire(s.ctx, s.locks(), licence, jobs.Holder{Run: "r1", Module: "m", Attempt: 1, Epoch: 1})
	if err != nil || len(others) > 0 {
		t.Fatal(err, others)
	}
	s.lead("r1").succeeds()
	s.free(licence)
}

// queue publishes the job of a module's first attempt, as an orchestrator does.
func (s *site) queue(run jobs.RunID, moduleID jobs.ModuleID) *jobs.Job {
	s.t.Helper()
	state, err := schedule.Load(s.log(run), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	m := state.Module(0)
	job := &jobs.Job{Run: run, Module: moduleID, Name: m.Name, Attempt: 1, Lane: jobs.LaneOf(m.Requires, m.Slots), Slots: 1, Keyed: true, Epoch: 1}
	if err := s.conn.Queue.EnsureLane(s.ctx, job.Lane); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan error, 1)
	s.conn.Queue.Publish(s.ctx, job, func(err error) { done <- err })
	if err := <-done; err != nil {
		s.t.Fatal(err)
	}
	return job
}

// takenBy records that an orchestrator has taken a run, which died afterwards.
func (s *site) takenBy(run jobs.RunID, name string) {
	s.t.Helper()
	taken := jobs.Record{Takeover: &jobs.Takeover{Epoch: 1, Orchestrator: name, Key: s.conn.Keys().ID()}}
	if _, err := s.conn.Runs.Append(s.ctx, run, "", 0, taken); err != nil {
		s.t.Fatal(err)
	}
}

// claim records that a worker has claimed a module's first attempt.
func (s *site) claim(run jobs.RunID, moduleID jobs.ModuleID, worker string) {
	s.t.Helper()
	rec := jobs.Record{Claim: &jobs.Claim{Attempt: 1, Worker: worker, Incarnation: "i", Nonce: "n", Started: time.Now()}}
	keys := s.conn.Keys()
	if _, err := s.conn.Runs.ForRun(keys.RunKey(keys.ID(), run)).Append(s.ctx, run, moduleID, 0, rec); err != nil {
		s.t.Fatal(err)
	}
}

// TestLocksExcludeWhileOrchestratorsDie: several runs share a key and a limit, and
// their orchestrators stop again and again. One module is inside at a time, its
// token is greater than all tokens before, and all runs succeed.
func TestLocksExcludeWhileOrchestratorsDie(t *testing.T) {
	t.Parallel()
	s := newSite(t, 2)
	const src = `
name: churn
limits: {l: {max: 2, scope: cluster}}
modules:
  m:
    matrix: {n: [1, 2, 3]}
    not-in-parallel: [{key: db, scope: cluster}]
    limit: l
    run: mkdir inside; echo "$MODPIPE_FENCING_TOKEN" >>tokens; sleep 0.05; rmdir inside
  other:
    matrix: {n: [1, 2, 3]}
    limit: l
    run: "true"
`
	var g errgroup.Group
	for i := range 3 {
		run := jobs.RunID(fmt.Sprintf("r%d", i))
		s.submit(run, src)
		conn := s.connect()
		g.Go(func() error { return s.churn(conn, run, time.Duration(i)*7*time.Millisecond) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	tokens := s.tokens()
	if len(tokens) != 9 || !slices.IsSorted(tokens) || len(slices.Compact(tokens)) != 9 {
		t.Errorf("tokens %v", tokens)
	}
	// The locks of an orchestrator that died at the end do not block a new run.
	s.start("last", src).succeeds()
	s.free(db)
}

// churn runs one orchestrator after the other for a run, each for a short time,
// until the run has ended.
func (s *site) churn(conn *broker.Conn, run jobs.RunID, shift time.Duration) error {
	for life := 40 * time.Millisecond; ; life += life / 4 {
		ctx, cancel := context.WithTimeout(s.ctx, life+shift)
		end, err := orchestrator.Run(ctx, conn, run, orchestrator.Config{})
		over := ctx.Err() != nil
		cancel()
		switch {
		case err == nil && end.Status == report.RunSucceeded:
			return nil
		case err == nil:
			return fmt.Errorf("run %s %s: %s", run, end.Status, end.Error)
		case s.ctx.Err() != nil || !over && !errors.Is(err, orchestrator.ErrSuperseded) && !errors.Is(err, kv.ErrHeld):
			return err
		}
	}
}
