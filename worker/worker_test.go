//go:build linux

package worker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/signing"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
	"github.com/modpipe/modpipe/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const run = jobs.RunID("r1")

// patience is how long a test waits for what must happen.
const patience = time.Minute

// bench is a server, a connection that plays the orchestrator, and a worker.
type bench struct {
	t       *testing.T
	server  *natstest.Server
	conn    *broker.Conn // the orchestrator's
	worker  *worker.Worker
	dir     string
	ended   chan error
	stop    context.CancelCauseFunc
	records chan jobs.Entry
	jobs    int
}

var errStopped = errors.New("stopped by the test")

func connect(t *testing.T, s *natstest.Server) *broker.Conn {
	t.Helper()
	c, err := broker.Connect(t.Context(), broker.Config{URL: s.URL(), Options: s.Options(), Name: t.Name(), ConnectTimeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newBench starts a worker; everything has ended when the test has.
func newBench(t *testing.T, s *natstest.Server, change ...func(*worker.Config)) *bench {
	t.Helper()
	return newBenchTTL(t, s, 10*time.Second, change...)
}

// newBenchTTL is newBench with a time to live of entries of the registry.
func newBenchTTL(t *testing.T, s *natstest.Server, ttl time.Duration, change ...func(*worker.Config)) *bench {
	t.Helper()
	b := &bench{t: t, server: s, dir: t.TempDir(), conn: connect(t, s).WithKeys(natstest.Keys(t, 1)), ended: make(chan error, 1), records: make(chan jobs.Entry, 100)}
	t.Cleanup(b.conn.Close)
	if err := kv.Create(t.Context(), b.conn.Conn, ttl); err != nil {
		t.Fatal(err)
	}
	b.lane("any", jobs.LaneSet{Slots: 1})
	if _, err := b.conn.Runs.Append(t.Context(), run, "", 0, jobs.Record{Spec: &jobs.Spec{Run: run}}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.conn.Runs.Append(t.Context(), run, "", 0, jobs.Record{Takeover: &jobs.Takeover{Epoch: 1, Orchestrator: "o", Key: b.conn.Keys().ID()}}); err != nil {
		t.Fatal(err)
	}
	cfg := worker.Config{Name: "w1", Slots: 4, Workspace: b.dir}
	for _, f := range change {
		f(&cfg)
	}
	own := connect(t, s)
	w, err := worker.New(own, cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.worker = w
	ctx, stop := context.WithCancelCause(context.Background())
	b.stop = stop
	following := make(chan struct{})
	follow, unfollow := context.WithCancel(context.Background())
	go func() {
		defer close(following)
		b.follow(follow)
	}()
	answering := make(chan struct{})
	go func() {
		defer close(answering)
		_ = b.conn.Control.Questions(follow, run, func(q *jobs.Question, _ func(signing.Key) bool) { b.answer(follow, q) })
	}()
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.ended <- w.Run(ctx)
	}()
	t.Cleanup(func() {
		stop(errStopped)
		<-done
		own.Close()
		unfollow()
		<-following
		<-answering
	})
	return b
}

// key is that of an attempt of a run.
func (b *bench) key(run jobs.RunID, id jobs.AttemptID) signing.Key {
	return signing.AttemptKey(b.runKey(run), id.Module, id.Attempt)
}

func (b *bench) runKey(run jobs.RunID) signing.Key {
	return b.conn.Keys().RunKey(b.conn.Keys().ID(), run)
}

// follow sends the records of the run, from the start again after every new
// connection, each once.
func (b *bench) follow(ctx context.Context) {
	newest := uint64(0)
	for {
		records := make(chan jobs.Entry)
		ended := make(chan error, 1)
		go func() {
			ended <- b.conn.Runs.Follow(ctx, run, 0, records)
			close(records)
		}()
		for e := range records {
			if e.Sequence <= newest {
				continue
			}
			newest = e.Sequence
			select {
			case b.records <- e:
			case <-ctx.Done():
			}
		}
		if !errors.Is(<-ended, broker.ErrReconnected) {
			return
		}
	}
}

// answer answers as an orchestrator does for which every attempt is open that
// nobody has claimed: a worker asks about what was published before it has
// looked at the queue.
func (b *bench) answer(ctx context.Context, q *jobs.Question) {
	last, _ := b.conn.Runs.Last(ctx, run, q.Module) // without a record the sequence is 0
	a := jobs.Answer{ID: q.ID, State: jobs.StandsOpen, Last: last.Sequence}
	if c := last.Record.Claim; c != nil && c.Attempt == q.Attempt && c.Nonce != q.Nonce {
		a.State = jobs.StandsTaken
	}
	_ = b.conn.Control.SendWorker(q.Worker, b.key(run, jobs.AttemptID{Module: q.Module, Attempt: q.Attempt}), jobs.Control{Answer: &a})
}

func (b *bench) lane(lane jobs.Lane, set jobs.LaneSet) uint64 {
	b.t.Helper()
	lanes, err := kv.OpenLanes(b.t.Context(), b.conn.Conn)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.conn.Queue.EnsureLane(b.t.Context(), lane); err != nil {
		b.t.Fatal(err)
	}
	rev, err := lanes.Put(b.t.Context(), lane, set)
	if err != nil {
		b.t.Fatal(err)
	}
	return rev
}

// job is attempt 1 of a separate module.
func (b *bench) job(script string) *jobs.Job {
	b.jobs++
	name := fmt.Sprintf("m%d", b.jobs)
	return &jobs.Job{
		Run: run, Pipeline: "ci", Module: jobs.ModuleID(name), Name: name, Attempt: 1, Lane: "any", Slots: 1,
		Command: &jobs.CommandJob{Run: script, Shell: "sh"}, Grace: time.Minute, StoreBy: time.Now().Add(time.Minute),
	}
}

func (b *bench) publish(j *jobs.Job) {
	b.t.Helper()
	spec := &jobs.Spec{Run: j.Run, Pipeline: &pipeline.Pipeline{Name: j.Pipeline}}
	if _, err := b.conn.Runs.Append(b.t.Context(), j.Run, "", 0, jobs.Record{Spec: spec}); err != nil && !errors.Is(err, broker.ErrConflict) {
		b.t.Fatal(err)
	}
	j.Key = b.key(j.Run, jobs.AttemptID{Module: j.Module, Attempt: j.Attempt})
	published := make(chan error, 1)
	b.conn.Queue.Publish(b.t.Context(), j, func(err error) { published <- err })
	if err := <-published; err != nil {
		b.t.Fatal(err)
	}
}

// write plays another writer of a cell.
func (b *bench) write(j *jobs.Job, expect uint64, rec jobs.Record) uint64 {
	b.t.Helper()
	seq, err := b.conn.Runs.ForRun(b.runKey(run)).Append(b.t.Context(), run, j.Module, expect, rec)
	if err != nil {
		b.t.Fatal(err)
	}
	return seq
}

// claimed and outcome wait for a record of the job's module.
func (b *bench) claimed(j *jobs.Job) jobs.Entry {
	b.t.Helper()
	return b.await(j, func(r jobs.Record) bool { return r.Claim != nil })
}

func (b *bench) outcome(j *jobs.Job) *jobs.Outcome {
	b.t.Helper()
	return b.await(j, func(r jobs.Record) bool { return r.Outcome != nil }).Record.Outcome
}

func (b *bench) await(j *jobs.Job, want func(jobs.Record) bool) jobs.Entry {
	b.t.Helper()
	limit := time.After(patience)
	ended, how := b.ended, ""
	for {
		select {
		case e := <-b.records:
			if e.Cell == j.Module && want(e.Record) {
				return e
			}
		case err := <-ended: // what it has written may still be on its way
			ended, how = nil, fmt.Sprintf(": the worker has ended, %v", err)
			b.ended <- err
		case <-limit:
			b.t.Fatal("the record does not come" + how)
		}
	}
}

// eventually waits for what no event tells of.
func (b *bench) eventually(what string, f func() bool) {
	b.t.Helper()
	limit := time.Now().Add(patience)
	for !f() {
		if time.Now().After(limit) {
			b.t.Fatal("not so in time: " + what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// pid waits for the number that a script has written to a file.
func (b *bench) pid(file string) int {
	b.t.Helper()
	var pid int
	b.eventually("a process has started", func() bool {
		text, err := os.ReadFile(filepath.Join(b.dir, file))
		if err != nil || !strings.HasSuffix(string(text), "\n") {
			return false
		}
		pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		return err == nil
	})
	return pid
}

func (b *bench) gone(pid int) {
	b.t.Helper()
	b.eventually("the process is gone", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
}

func (b *bench) queued(j *jobs.Job) bool {
	b.t.Helper()
	in, err := b.conn.Queue.Has(b.t.Context(), j.Lane, run, jobs.AttemptID{Module: j.Module, Attempt: j.Attempt})
	if err != nil {
		b.t.Fatal(err)
	}
	return in
}

// warm returns when the worker knows which jobs are older than its connection,
// and does not doubt new ones: it starts what another has claimed.
func (b *bench) warm() {
	b.t.Helper()
	for !b.exists("warm") {
		j := b.job("touch warm")
		b.write(j, 0, jobs.Record{Claim: &jobs.Claim{Attempt: 1, Nonce: "other"}})
		b.publish(j)
		after := b.job("true")
		b.publish(after)
		b.outcome(after)
	}
}

// telling repeats a control message, as its senders do, until stop:
// the worker may not listen yet.
func (b *bench) telling(send func() error) (stop func()) {
	ctx, cancel := context.WithCancel(b.t.Context())
	var g sync.WaitGroup
	g.Go(func() {
		again := time.NewTicker(20 * time.Millisecond)
		defer again.Stop()
		for {
			if err := send(); err != nil {
				b.t.Error(err)
				return
			}
			select {
			case <-again.C:
			case <-ctx.Done():
				return
			}
		}
	})
	stop = func() { cancel(); g.Wait() }
	b.t.Cleanup(stop)
	return stop
}

// registered is the entry of a worker in the registry.
func (b *bench) registered(name string) *jobs.WorkerInfo {
	b.t.Helper()
	workers, err := kv.Workers(b.t.Context(), b.conn.Conn)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := range workers {
		if workers[i].Name == name {
			return &workers[i]
		}
	}
	b.t.Fatalf("no worker %s among %v", name, workers)
	return nil
}

// cancelling asks for the end of an attempt until stop.
func (b *bench) cancelling(ask jobs.CancelAttempt) (stop func()) {
	ask.Run = run
	key := b.key(run, jobs.AttemptID{Module: ask.Module, Attempt: ask.Attempt})
	return b.telling(func() error { return b.conn.Control.SendWorker("w1", key, jobs.Control{Cancel: &ask}) })
}

func (b *bench) ends(want error) {
	b.t.Helper()
	select {
	case err := <-b.ended:
		if !errors.Is(err, want) {
			b.t.Errorf("the worker ended with %v, want %v", err, want)
		}
	case <-time.After(patience):
		b.t.Fatal("the worker does not end")
	}
}

func (b *bench) exists(file string) bool {
	_, err := os.Stat(filepath.Join(b.dir, file))
	return err == nil
}

func (b *bench) log(j *jobs.Job) (text string, chunks int) {
	b.t.Helper()
	err := b.conn.Logs.Read(b.t.Context(), run, j.Module, j.Attempt, func(e broker.LogEntry) error {
		chunks++
		if e.Chunk.Number != chunks {
			b.t.Errorf("chunk %d stands in place %d", e.Chunk.Number, chunks)
		}
		for _, p := range e.Chunk.Parts {
			text += string(p.Data)
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return text, chunks
}

func TestJobIsRunCommittedAndAcknowledged(t *testing.T) {
	b := newBench(t, natstest.InProcess(t))
	j := b.job(`echo hello; echo v=1 >>"$MODPIPE_OUTPUT"`)
	b.publish(j)
	o := b.outcome(j)
	outputs, err := o.Outputs.Outputs()
	if err != nil || o.Status != report.AttemptSucceeded || outputs["v"] != "1" || o.Worker != "w1" || o.Nonce == "" || o.LogChunks != 1 || o.Started.IsZero() {
		t.Errorf("outcome %+v", o)
	}
	if text, n := b.log(j); text != "hello\n" || n != o.LogChunks {
		t.Errorf("log %q in %d chunks", text, n)
	}
	b.eventually("the job is acknowledged", func() bool { return !b.queued(j) })
	b.worker.Drain()
	b.ends(nil)
	registry, err := kv.OpenRegistry(t.Context(), b.conn.Conn, 0)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := registry.List(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("registry %v, %v", left, err)
	}
}

func TestKeyedClaimsBeforeItStarts(t *testing.T) {
	b := newBench(t, natstest.InProcess(t))
	j := b.job(`echo "$MODPIPE_FENCING_TOKEN"`)
	j.Keyed = true
	b.publish(j)
	c := b.claimed(j)
	if o := b.outcome(j); o.Status != report.AttemptSucceeded || o.Nonce != c.Record.Claim.Nonce || o.Incarnation != c.Record.Claim.Incarnation {
		t.Errorf("outcome %+v of claim %+v", o, c.Record.Claim)
	}
	if text, _ := b.log(j); text != fmt.Sprintln(c.Sequence) {
		t.Errorf("the token is %q, the claim's sequence %d", text, c.Sequence)
	}
}

func TestUnkeyedClaimsWhatOutlives20ms(t *testing.T) {
	b := newBench(t, natstest.InProcess(t))
	long := b.job("until [ -e claimed ]; do sleep 0.01; done")
	b.publish(long)
	b.claimed(long)
	if err := os.WriteFile(filepath.Join(b.dir, "claimed"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if o := b.outcome(long); o.Status != report.AttemptSucceeded {
		t.Errorf("outcome %+v", o)
	}
}

// What a cell shows when a job comes, and what becomes of the job.
func TestDoubt(t *testing.T) {
	theirs := jobs.Record{Claim: &jobs.Claim{Attempt: 1, Worker: "w1", Incarnation: "other", Nonce: "other"}}
	closed := jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptLost, By: "o1"}}
	for _, tc := range []struct {
		name         string
		keyed, again bool
		cell         *jobs.Record
		end          bool
		runs, stays  bool
	}{
		{"doubtful, nothing known", false, true, nil, false, true, false},
		{"doubtful, claimed by another", false, true, &theirs, false, false, true},
		{"doubtful, closed", false, true, &closed, false, false, false},
		{"doubtful, the run has ended", false, true, nil, true, false, false},
		{"keyed, claimed by another", true, false, &theirs, false, false, true},
		{"keyed, closed", true, false, &closed, false, false, false},
		{"keyed, doubtful, nothing known", true, true, nil, false, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, natstest.InProcess(t))
			j := b.job("touch ran")
			j.Keyed, j.MaybeDuplicate = tc.keyed, tc.again
			if tc.cell != nil {
				b.write(j, 0, *tc.cell)
			}
			if tc.end {
				b.write(&jobs.Job{}, 0, jobs.Record{End: &jobs.End{Status: report.RunFailed}})
			}
			b.publish(j)
			if tc.runs {
				b.outcome(j)
			} else if !tc.stays {
				b.eventually("the job is acknowledged", func() bool { return !b.queued(j) })
			}
			after := b.job("true") // the slots are free again
			b.publish(after)
			b.outcome(after)
			if b.queued(j) != tc.stays && tc.stays {
				t.Error("the job was acknowledged")
			}
			if b.exists("ran") != tc.runs {
				t.Errorf("it ran: %v", !tc.runs)
			}
		})
	}
}

func TestRefusedOutcomeIsDiscarded(t *testing.T) {
	b := newBench(t, natstest.InProcess(t))
	b.warm()
	j := b.job("true")
	b.write(j, 0, jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptLost, By: "o1"}})
	b.publish(j) // with a fence that is past, and no reason to doubt
	b.eventually("the job is acknowledged", func() bool { return !b.queued(j) })
	last, err := b.conn.Runs.Last(t.Context(), run, j.Module)
	if err != nil || last.Record.Outcome.By != "o1" {
		t.Errorf("the cell holds %+v, %v", last.Record, err)
	}
}

func TestRefusedClaimEndsWhatRuns(t *testing.T) {
	b := newBench(t, natstest.InProcess(t))
	b.warm()
	var j *jobs.Job
	for !b.wrote("pid") { // a busy machine may be slower to start it than to hear the refusal
		j = b.job("echo $$ >pid; exec sleep 300")
		b.write(j, 0, jobs.Record{Claim: &jobs.Claim{Attempt: 1, Nonce: "other"}})
		b.publish(j)
		b.outcome(b.next())
	}
	b.gone(b.pid("pid"))
	if !b.queued(j) {
		t.Error("the job of another was acknowledged")
	}
}

// wrote reports whether a script has written a line to a file.
func (b *bench) wrote(file string) bool {
	text, err := os.ReadFile(filepath.Join(b.dir, file))
	return err == nil && strings.HasSuffix(string(text), "\n")
}

// next publishes a job that takes longer than the refusal of a claim.
func (b *bench) next() *jobs.Job {
	j := b.job("sleep 0.2")
	b.publish(j)
	return j
}

func TestSupersededAttemptIsEndedAfterReconnect(t *testing.T) {
	b := newBench(t, natstest.StartServer(t, nil))
	j := b.job("echo $$ >pid; exec sleep 300")
	b.publish(j)
	c := b.claimed(j)
	b.write(j, c.Sequence, jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptLost, By: "o1"}})
	pid := b.pid("pid")
	b.server.CutClients()
	b.gone(pid)
	b.eventually("the job is acknowledged", func() bool { return !b.queued(j) })
}

func TestCancel(t *testing.T) {
	b := newBench(t, natstest.InProcess(t))
	j := b.job(`trap 'touch term' TERM; echo $$ >pid; while :; do sleep 0.01 || :; done`)
	b.publish(j)
	b.claimed(j)
	pid := b.pid("pid")
	ask := jobs.CancelAttempt{Module: j.Module, Attempt: 1, Reason: "by ann"}
	stop := b.cancelling(ask)
	b.eventually("TERM has come", func() bool { return b.exists("term") })
	stop()
	ask.Kill = true // during the grace of a minute
	b.cancelling(ask)
	if o := b.outcome(j); o.Status != report.AttemptCancelled || o.Error != "by ann" || o.ExitCode == nil || *o.ExitCode != 137 {
		t.Errorf("outcome %+v", o)
	}
	b.gone(pid)
}

// TestCancelWhileItFetches: what an attempt needs does not arrive, and that
// does not keep it from being ended.
func TestCancelWhileItFetches(t *testing.T) {
	s := natstest.InProcess(t)
	b := newBench(t, s)
	large, err := b.conn.Values.Put(t.Context(), jobs.OutputsOf(map[string]string{"v": strings.Repeat("x", 1<<20)}))
	if err != nil {
		t.Fatal(err)
	}
	s.Divert(t, "$JS.API.STREAM.MSG.GET.OBJ_mp-blobs", "nobody")
	j := b.job("touch ran")
	j.Keyed, j.Needs = true, map[string]jobs.Need{"large": {Status: "succeeded", Outputs: large}}
	b.publish(j)
	b.claimed(j)
	b.cancelling(jobs.CancelAttempt{Module: j.Module, Attempt: 1, Reason: "by ann"})
	if o := b.outcome(j); o.Status != report.AttemptCancelled || o.Error != "by ann" {
		t.Errorf("outcome %+v", o)
	}
	if b.exists("ran") {
		t.Error("it has run")
	}
}

func TestHandBack(t *testing.T) {
	b := newBench(t, natstest.InProcess(t), func(c *worker.Config) { c.DrainTimeout = 50 * time.Millisecond })
	j := b.job("echo $$ >pid; exec sleep 300")
	b.publish(j)
	pid := b.pid("pid")
	w := b.registered("w1")
	b.telling(func() error {
		return errors.Join(b.conn.Control.Greet(w), b.conn.Control.Order(w, jobs.Control{Drain: &jobs.Drain{By: "ann"}}))
	})
	if o := b.outcome(j); o.Status != report.AttemptHandedBack {
		t.Errorf("outcome %+v", o)
	}
	b.gone(pid)
	b.ends(nil)
}

// TestRequestsThatNoOrchestratorSignedAreIgnored: the worker counts them, and takes the
// next job.
func TestRequestsThatNoOrchestratorSignedAreIgnored(t *testing.T) {
	b := newBench(t, natstest.InProcess(t))
	b.warm()
	w := b.registered("w1")
	stop := b.telling(func() error { return b.conn.Control.Greet(w) })
	forged := signing.Key(bytes.Repeat([]byte{9}, signing.Size))
	forge := b.telling(func() error {
		return errors.Join(
			b.conn.Control.SendWorker("w1", forged, jobs.Control{Drain: &jobs.Drain{By: "mallory"}}),
			b.conn.Control.SendWorker("w1", forged, jobs.Control{Probe: &jobs.Probe{Incarnation: w.Incarnation, Run: run, Module: "m", Attempt: 1}}),
		)
	})
	b.eventually("the worker has counted both", func() bool { return b.registered("w1").Ignored >= 2 })
	forge()
	stop()
	j := b.job("true")
	b.publish(j)
	if o := b.outcome(j); o.Status != report.AttemptSucceeded {
		t.Errorf("outcome %+v", o)
	}
}

// TestWorkerWarnsOfAnotherTimeToLive: the registry of the orchestrator counts.
func TestWorkerWarnsOfAnotherTimeToLive(t *testing.T) {
	for told, warns := range map[time.Duration]bool{0: false, time.Hour: true} {
		log := natstest.NewLog()
		b := newBench(t, natstest.InProcess(t), func(c *worker.Config) {
			c.WorkerTTL, c.Logger = told, log.Logger()
		})
		b.warm()
		if got := strings.Contains(log.Text(), "lost after another time"); got != warns {
			t.Errorf("told %v: warns %t\n%s", told, got, log.Text())
		}
	}
}

func TestDrainFinishesWhatRuns(t *testing.T) {
	b := newBench(t, natstest.InProcess(t))
	j := b.job("echo $$ >pid; sleep 0.3")
	b.publish(j)
	b.pid("pid")
	b.worker.Drain()
	next := b.job("touch ran")
	b.publish(next)
	if o := b.outcome(j); o.Status != report.AttemptSucceeded {
		t.Errorf("outcome %+v", o)
	}
	b.ends(nil)
	if !b.queued(next) && !b.exists("ran") {
		t.Error("a job is lost")
	}
}

func TestStopKillsAndHandsBack(t *testing.T) {
	b := newBench(t, natstest.InProcess(t))
	j := b.job("trap '' TERM; echo $$ >pid; while :; do sleep 0.01 || :; done")
	b.publish(j)
	pid := b.pid("pid")
	b.stop(errStopped)
	if o := b.outcome(j); o.Status != report.AttemptHandedBack {
		t.Errorf("outcome %+v", o)
	}
	b.gone(pid)
	b.ends(errStopped)
}

func TestLapsedLeaseKillsWhatHoldsAKey(t *testing.T) {
	b := newBenchTTL(t, natstest.StartServer(t, nil), time.Second)
	keyed := b.job("trap '' TERM; echo $$ >keyed; while :; do sleep 0.01 || :; done")
	keyed.Keyed = true
	free := b.job("echo $$ >free; exec sleep 300")
	b.publish(keyed)
	b.publish(free)
	b.claimed(free)
	one, other := b.pid("keyed"), b.pid("free")
	b.server.Stop()
	b.gone(one)
	if syscall.Kill(other, 0) != nil {
		t.Error("what holds no key was killed too")
	}
	b.server.Start(t)
	if o := b.outcome(keyed); o.Status != report.AttemptLost {
		t.Errorf("outcome %+v", o)
	}
	b.cancelling(jobs.CancelAttempt{Module: free.Module, Attempt: 1})
	if o := b.outcome(free); o.Status != report.AttemptCancelled {
		t.Errorf("outcome %+v", o)
	}
	b.gone(other)
}

func TestLogsOverARestartOfNATS(t *testing.T) {
	b := newBench(t, natstest.StartServer(t, nil))
	j := b.job(`echo $$ >pid; i=0; while [ $i -lt 5000 ]; do i=$((i+1)); echo "line $i of a log that is long enough to fill what is between"; [ $((i % 500)) = 0 ] && sleep 0.05; done; true`)
	b.publish(j)
	b.pid("pid")
	b.server.Stop()
	<-time.After(300 * time.Millisecond) // it runs into the wall
	b.server.Start(t)
	o := b.outcome(j)
	var want strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&want, "line %d of a log that is long enough to fill what is between\n", i+1)
	}
	if text, n := b.log(j); o.Status != report.AttemptSucceeded || n != o.LogChunks || text != want.String() {
		t.Errorf("%s; %d bytes of %d in %d chunks of %d", o.Status, len(text), want.Len(), n, o.LogChunks)
	}
}

func TestDrainWhileNATSIsAway(t *testing.T) {
	b := newBench(t, natstest.StartServer(t, nil), func(c *worker.Config) { c.DrainTimeout = 100 * time.Millisecond })
	j := b.job("echo $$ >pid; exec sleep 300")
	b.publish(j)
	pid := b.pid("pid")
	b.server.Stop()
	began := time.Now()
	b.worker.Drain()
	b.ends(nil)
	if took := time.Since(began); took > patience/2 {
		t.Errorf("it took %v", took)
	}
	b.gone(pid)
	b.server.Start(t)
}

func TestNames(t *testing.T) {
	s := natstest.InProcess(t)
	b := newBenchTTL(t, s, 3*time.Second) // a name that is taken is asked for as long, and longer
	j := b.job("true")                    // w1 is there when this has run
	b.publish(j)
	b.outcome(j)
	second, err := worker.New(b.conn, worker.Config{Name: "w1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); !errors.Is(err, kv.ErrTaken) {
		t.Errorf("a second worker of the name: %v", err)
	}
	w, err := worker.New(b.conn, worker.Config{})
	if err != nil || !jobs.ValidID(w.Name()) {
		t.Errorf("name %q, %v", w.Name(), err)
	}
	for group, want := range map[string]string{"": "w1", "default": "w1", "ci": "ci.w1"} {
		w, err := worker.New(b.conn, worker.Config{Group: group, Name: "w1"})
		if err != nil || w.Name() != want {
			t.Errorf("group %q: name %q, %v", group, w.Name(), err)
		}
	}
	for _, cfg := range []worker.Config{{Group: "a.b"}, {Group: "*"}, {Name: "ci.w1"}} {
		if _, err := worker.New(b.conn, cfg); err == nil {
			t.Errorf("group %q, name %q: accepted", cfg.Group, cfg.Name)
		}
	}
}

func TestExitWhenIdle(t *testing.T) {
	b := newBench(t, natstest.InProcess(t), func(c *worker.Config) { c.ExitWhenIdle = true })
	j := b.job("true")
	b.publish(j)
	b.outcome(j)
	b.ends(nil)
}

func TestLanes(t *testing.T) {
	bin := t.TempDir()
	for name, text := range map[string]string{
		"Frob": "#!/bin/sh\n[ \"$1\" = version ] && echo frob 1.2.3 of 2020.1\n", "hang": "#!/bin/sh\nsleep 300 & sleep 300\n", "mute": "#!/bin/sh\n",
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	b := newBench(t, natstest.InProcess(t), func(c *worker.Config) { c.Tags, c.Labels = []string{"GPU"}, map[string]string{"Zone": "EU"} })
	tool := func(name, min string) jobs.LaneSet {
		return jobs.LaneSet{Slots: 1, Requires: pipeline.Requirements{Tools: []pipeline.Tool{{Name: name, Min: min}}}}
	}
	var last uint64
	lanes := map[jobs.Lane]jobs.LaneSet{
		"served-a": tool("frob", "1.2"), "served-b": tool("mute", ""), "not-a": tool("frob", "1.10"), "not-b": tool("mute", "1"), "not-c": tool("missing", ""),
		"served-c": {Slots: 9, Requires: pipeline.Requirements{Tags: []string{"gpu"}, Labels: []pipeline.KeyValue{{Key: "zone", Value: "eu"}}, CPUs: 1, Memory: 1 << 20}},
	}
	for lane, set := range lanes {
		last = max(last, b.lane(lane, set))
	}
	registry, err := kv.OpenRegistry(t.Context(), b.conn.Conn, 0)
	if err != nil {
		t.Fatal(err)
	}
	var w jobs.WorkerInfo
	b.eventually("it has looked at the lanes", func() bool {
		all, err := registry.List(t.Context())
		if err == nil && len(all) == 1 {
			w = all[0]
		}
		return w.LanesSeen >= last
	})
	if got := w.Capabilities.Tools; len(got) != 2 || got["frob"] != "1.2.3" {
		t.Errorf("tools %v", got)
	}
	for lane, set := range lanes {
		if offers := w.Capabilities.Offer(set.Requires); offers != strings.HasPrefix(string(lane), "served") {
			t.Errorf("%s: offers %v", lane, offers)
		}
		if strings.HasPrefix(string(lane), "served") {
			j := b.job("true")
			j.Lane = lane
			b.publish(j)
			b.outcome(j)
		}
	}
}

func TestConfigFaultsComeTogether(t *testing.T) {
	_, err := worker.New(nil, worker.Config{
		Name: "a b", Slots: -1, Tags: []string{""}, Tools: []string{"go=x"}, PassEnv: []string{"["}, DrainTimeout: -1,
		Workspace: "/no/such/dir", Labels: map[string]string{"": "x"},
	})
	for _, word := range []string{"name", "slots", "tags", "tools", "pass-env", "drain-timeout", "workspace", "labels"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("no word of %s in %v", word, err)
		}
	}
}

func TestDetect(t *testing.T) {
	c, err := worker.Detect(t.Context(), worker.Config{Tools: []string{"Mine=3.4"}})
	if _, ok := c.Tools["sh"]; err != nil || !ok || c.Tools["mine"] != "3.4" || c.CPUs < 1 || c.Memory == 0 {
		t.Errorf("%+v, %v", c, err)
	}
	c, _ = worker.Detect(t.Context(), worker.Config{OnlyTools: []string{"sh"}})
	if len(c.Tools) != 1 {
		t.Errorf("tools %v", c.Tools)
	}
}

// TestBrokenMachineTakesNoAttempts: an attempt that cannot begin is handed
// back with the reason, the worker says so and takes nothing more, and goes on
// when its own trial succeeds.
func TestBrokenMachineTakesNoAttempts(t *testing.T) {
	s := natstest.StartServer(t, nil)
	b := newBench(t, s)
	b.warm()
	missing := filepath.Join(b.dir, "missing")
	t.Setenv("TMPDIR", missing)
	first := b.job("touch began")
	b.publish(first)
	o := b.outcome(first)
	if o.Status != report.AttemptHandedBack || !o.Unable || !strings.Contains(o.Error, "no such file or directory") || !o.Started.IsZero() {
		t.Fatalf("%+v", o)
	}
	b.eventually("the registry says that it takes no attempts", func() bool {
		workers, err := kv.Workers(t.Context(), b.conn.Conn)
		return err == nil && len(workers) == 1 && strings.Contains(workers[0].Unable, missing)
	})
	second := b.job("touch began")
	b.publish(second)
	b.eventually("a trial failed", func() bool { return !b.exists("began") && b.queued(second) })
	if err := os.Mkdir(missing, 0o755); err != nil {
		t.Fatal(err)
	}
	if o := b.outcome(second); o.Status != report.AttemptSucceeded {
		t.Errorf("%+v", o)
	}
	b.eventually("the registry says that it works again", func() bool {
		workers, err := kv.Workers(t.Context(), b.conn.Conn)
		return err == nil && len(workers) == 1 && workers[0].Unable == ""
	})
}
