package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// inTheMiddle has a module that has ended, one that runs until the gate opens,
// and one that waits for it. Each start is a line in $D/log.
const inTheMiddle = `
name: e2e
modules:
  before: {run: 'echo before >>"$D/log"; echo v=1 >>"$MODPIPE_OUTPUT"'}
  during: {needs: before, run: 'echo during >>"$D/log"; echo "pid $$"; read _ <"$D/gate"'}
  after: {needs: [before, during], env: {V: "${{ needs.before.outputs.v }}"}, run: 'echo "after $V" >>"$D/log"'}
`

// resume starts `resume` of a run that p has started.
func (p *place) resume(t testing.TB, dir, id string) *run {
	t.Helper()
	reportFile := filepath.Join(dir, "resumed.json")
	args := append([]string{"resume", id, "--report", reportFile, "--progress", "json"}, p.connection()...)
	return &run{start(t, p.workspace, p.env(), binaries.orchestrator, args...), dir, reportFile}
}

// TestResume takes a run over after the death of its orchestrator. Modules with a result
// do not run again. Modules on a live worker continue, and their results count. Modules
// whose worker has died start on another one.
func TestResume(t *testing.T) {
	inBothModes(t, func(t *testing.T, p *place) {
		dir := p.dir(t)
		gate := newGate(t, dir, "gate")
		r := p.startIn(t, dir, p.file(t, inTheMiddle), "--run-id", "r1")
		r.awaitNumber(t, "during", "pid")
		r.kill(t)
		resumed := p.resume(t, dir, "r1")
		if p.mode == standalone {
			resumed.await(t, event{Event: "module.started", Module: "during", Attempt: 2})
		}
		resumed.awaitWhere(t, "a worker", func(e event) bool { return e.Event == "worker.joined" })
		gate.open(t)
		res := resumed.result(t)
		res.want(t, 0, all(succeeded, "before", "during", "after"))
		want, attempts := []string{"before", "during", "after 1"}, "succeeded"
		if p.mode == standalone { // its worker died, too
			want, attempts = []string{"before", "during", "during", "after 1"}, "lost, succeeded"
		}
		if got := res.lines(t, "log"); !slices.Equal(got, want) {
			t.Errorf("started: %q, want %q", got, want)
		}
		if got := res.Report.module(t, "during").attempts(); got != attempts {
			t.Errorf("attempts of during: %s, want %s", got, attempts)
		}
		if again := p.orchestrator(t, "resume", "r1"); again.exit() != 5 {
			t.Errorf("resuming an ended run: exit %d", again.exit())
		}
		if unknown := p.orchestrator(t, "resume", "nosuch"); unknown.exit() != 5 {
			t.Errorf("resuming an unknown run: exit %d", unknown.exit())
		}
	})
}

// TestResumeBesideALiveOrchestrator checks that resume is refused and changes nothing.
func TestResumeBesideALiveOrchestrator(t *testing.T) {
	inBothModes(t, func(t *testing.T, p *place) {
		dir := p.dir(t)
		gate := newGate(t, dir, "gate")
		r := p.startIn(t, dir, p.file(t, inTheMiddle), "--run-id", "r1")
		r.awaitNumber(t, "during", "pid")
		if refused := p.orchestrator(t, "resume", "r1"); refused.exit() != 5 {
			t.Errorf("exit %d", refused.exit())
		}
		gate.open(t)
		res := r.result(t)
		res.want(t, 0, all(succeeded, "before", "during", "after"))
		if got := res.lines(t, "log"); len(got) != 3 {
			t.Errorf("started: %q", got)
		}
	})
}

// sooner bounds how late a timer may be after a takeover. It is less than a lease of 3 s,
// which is renewed every second. A timer that restarts with a takeover would be later.
const sooner = 2 * time.Second

// TestDeadlineContinuesAfterATakeover checks that a deadline counts from the run's start, not from a
// takeover.
func TestDeadlineContinuesAfterATakeover(t *testing.T) {
	inBothModes(t, func(t *testing.T, p *place) {
		dir := p.dir(t)
		newGate(t, dir, "gate")
		r := p.startIn(t, dir, p.file(t, "deadline: 8s"+inTheMiddle), "--run-id", "r1")
		r.awaitNumber(t, "during", "pid")
		r.kill(t)
		res := p.resume(t, dir, "r1").result(t)
		if res.Exit != 4 || res.Report.Status != "cancelled" {
			t.Errorf("exit %d, %s: %s", res.Exit, res.Report.Status, res.Report.Error)
		}
		if took := res.Report.Finished.Sub(res.Report.Started); took < 8*time.Second || took > 8*time.Second+sooner {
			t.Errorf("a deadline of 8 s ended it after %v", took)
		}
	})
}

// TestTimersContinueAfterATakeover checks that the delay of a retry and a queue time-out count from their
// records in the log, not from a takeover.
func TestTimersContinueAfterATakeover(t *testing.T) {
	const yaml = `
name: e2e
fail-fast: false
modules:
  again: {retry: {attempts: 2, delay: 10s}, run: 'test "$MODPIPE_ATTEMPT" = 2'}
  nobody: {requires: {tags: [nobody]}, queue-timeout: 6s, run: 'true'}
`
	t.Run(string(workers), func(t *testing.T) { // embedded, a module that no worker can ever run fails immediately
		p := newPlace(t, workers)
		p.server(t)
		p.worker(t, "w1")
		dir := p.dir(t)
		r := p.startIn(t, dir, p.file(t, yaml), "--run-id", "timers")
		r.await(t, event{Event: "waiting", Module: "nobody"})
		retrying := r.await(t, event{Event: "module.retrying", Module: "again"})
		r.kill(t)
		resumed := p.resume(t, dir, "timers")
		failedAt := resumed.await(t, event{Event: "module.ended", Module: "nobody"}).Time
		startedAt := resumed.await(t, event{Event: "module.started", Module: "again", Attempt: 2}).Time
		res := resumed.result(t)
		res.want(t, 4, map[string]string{"again": succeeded, "nobody": failed})
		if took := failedAt.Sub(res.Report.Started); took < 6*time.Second || took > 6*time.Second+sooner {
			t.Errorf("a queue time-out of 6 s ended it after %v", took)
		}
		delay := time.Duration(*retrying.In * float64(time.Second))
		if took := startedAt.Sub(retrying.Time); took < delay || took > delay+sooner {
			t.Errorf("a retry was to begin after %v, and began after %v", delay, took)
		}
	})
}

// serve starts an orchestrator that serves the place's server.
func (p *place) serve(t testing.TB, name string) *program {
	t.Helper()
	args := []string{"serve", "--name", name, "--server", p.url}
	s := start(t, p.workspace, p.env(), binaries.orchestrator, args...)
	s.awaitText(t, "serving runs")
	return s
}

// detach submits a run and returns the output of the command.
func (p *place) detach(t testing.TB, dir, yaml string, args ...string) string {
	t.Helper()
	args = append([]string{"run", p.file(t, yaml), "--detach", "--env", "D=" + dir}, args...)
	o := p.orchestrator(t, args...)
	if o.exit() != 0 {
		t.Fatalf("run --detach: exit %d: %s", o.exit(), o.stderrText())
	}
	return strings.TrimSpace(o.stdout.String())
}

// onServer runs a scenario on a server with two workers.
func onServer(t *testing.T) *place {
	t.Helper()
	p := newPlace(t, workers)
	p.server(t)
	p.worker(t, "w1", "--max-parallel", "4")
	p.worker(t, "w2", "--max-parallel", "4")
	return p
}

// adopted waits until a program takes the run over, and returns when it did.
func adopted(t testing.TB, s *program, id string) time.Time {
	t.Helper()
	s.awaitText(t, "run="+id)
	return time.Now()
}

// awaitFile waits until a module has written a line to a file of its run.
func awaitFile(t testing.TB, path, line string) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if text, err := os.ReadFile(path); err == nil && slices.Contains(strings.Split(string(text), "\n"), line) {
			return
		}
		<-time.After(5 * time.Millisecond)
	}
	t.Fatalf("%s has no line %q", path, line)
}

// TestServeSurvivesItsDeath checks that a submitted run survives the process that serves
// it, and may be submitted twice.
func TestServeSurvivesItsDeath(t *testing.T) {
	p := onServer(t)
	one := p.serve(t, "one")
	dir := p.dir(t)
	gate := newGate(t, dir, "gate")
	for range 2 {
		if id := p.detach(t, dir, inTheMiddle, "--run-id", "r1"); id != "r1" {
			t.Errorf("run --detach prints %q", id)
		}
	}
	adopted(t, one, "r1")
	two := p.serve(t, "two")
	awaitFile(t, filepath.Join(dir, "log"), "during")
	one.kill(t)
	killed := time.Now()
	took := adopted(t, two, "r1").Sub(killed)
	t.Logf("taken over %v after the kill", took.Round(time.Millisecond))
	if took > 15*time.Second { // a lease of 3 s, and the 3 s that are promised after it; a loaded machine may take longer
		t.Errorf("taken over only %v after the kill", took)
	}
	gate.open(t)
	if wait := p.orchestrator(t, "runs", "wait", "r1"); wait.exit() != 0 {
		t.Errorf("runs wait: exit %d: %s", wait.exit(), wait.stderrText())
	}
	if got := (&result{dir: dir}).lines(t, "log"); !slices.Equal(got, []string{"before", "during", "after 1"}) {
		t.Errorf("started: %q", got)
	}
	two.signal(t, syscall.SIGTERM)
	if code := two.wait(t); code != 0 {
		t.Errorf("serve left with %d", code)
	}
}

// TestServeAdoptsAForegroundRun checks that the death of `run` does not end its run. A
// process that was only asleep finds that it was replaced, and follows the run to its end.
func TestServeAdoptsAForegroundRun(t *testing.T) {
	for name, stop := range map[string]syscall.Signal{"killed": syscall.SIGKILL, "paused": syscall.SIGSTOP} {
		t.Run(name, func(t *testing.T) {
			p := onServer(t)
			s := p.serve(t, "one")
			dir := p.dir(t)
			gate := newGate(t, dir, "gate")
			r := p.startIn(t, dir, p.file(t, inTheMiddle), "--run-id", "r1")
			r.awaitNumber(t, "during", "pid")
			r.signal(t, stop)
			adopted(t, s, "r1")
			if stop == syscall.SIGSTOP {
				r.signal(t, syscall.SIGCONT)
			}
			gate.open(t)
			if stop == syscall.SIGSTOP {
				r.result(t).want(t, 0, all(succeeded, "before", "during", "after"))
			}
			if wait := p.orchestrator(t, "runs", "wait", "r1"); wait.exit() != 0 {
				t.Errorf("runs wait: exit %d: %s", wait.exit(), wait.stderrText())
			}
			if got := (&result{dir: dir}).lines(t, "log"); !slices.Equal(got, []string{"before", "during", "after 1"}) {
				t.Errorf("started: %q", got)
			}
		})
	}
}

// TestDev checks that one process serves a workspace. Runs that are submitted there run in
// it, and outlive it.
func TestDev(t *testing.T) {
	p := newPlace(t, standalone)
	dev := func() *program {
		d := start(t, p.workspace, p.env(), binaries.orchestrator, "dev", "--listen", freeAddress(t))
		d.awaitText(t, "serving runs")
		return d
	}
	if none := p.orchestrator(t, "run", p.file(t, inTheMiddle), "--detach"); none.exit() != 2 || !strings.Contains(none.stderrText(), "orchestrator dev") {
		t.Errorf("--detach without a serving process: exit %d: %s", none.exit(), none.stderrText())
	}
	first := dev()
	dir := p.dir(t)
	gate := newGate(t, dir, "gate")
	id := p.detach(t, dir, inTheMiddle)
	awaitFile(t, filepath.Join(dir, "log"), "during")
	first.kill(t)
	second := dev()
	adopted(t, second, id)
	gate.open(t)
	if wait := p.orchestrator(t, "runs", "wait", id); wait.exit() != 0 {
		t.Errorf("runs wait: exit %d: %s", wait.exit(), wait.stderrText())
	}
	if o := p.orchestrator(t, "resume", id); o.exit() != 5 || !strings.Contains(o.stderrText(), "has ended already") {
		t.Errorf("resume beside dev: exit %d: %s", o.exit(), o.stderrText())
	}
	failing := p.detach(t, dir, "{name: e2e, modules: {a: {run: 'test -e \"$D/repaired\"'}}}")
	if wait := p.orchestrator(t, "runs", "wait", failing); wait.exit() != 1 {
		t.Errorf("runs wait: exit %d: %s", wait.exit(), wait.stderrText())
	}
	if err := os.WriteFile(filepath.Join(dir, "repaired"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if o := p.orchestrator(t, "runs", "retry", failing); o.exit() != 0 {
		t.Errorf("runs retry beside dev: exit %d: %s", o.exit(), o.stderrText())
	}
	second.signal(t, syscall.SIGTERM)
	if code := second.wait(t); code != 0 {
		t.Errorf("dev left with %d", code)
	}
}

// TestRetry runs the failed modules of a run again. Succeeded modules keep their results.
func TestRetry(t *testing.T) {
	const yaml = `
name: e2e
fail-fast: false
params: {who: {default: nobody}}
modules:
  build: {run: 'echo build >>"$D/log"; echo v=7 >>"$MODPIPE_OUTPUT"'}
  flaky: {needs: build, run: 'echo flaky >>"$D/log"; test -e "$D/repaired"'}
  other: {needs: build, run: 'echo other >>"$D/log"'}
  last:
    needs: [build, flaky, other]
    env: {V: "${{ needs.build.outputs.v }}", WHO: "${{ params.who }}"}
    run: 'echo "last $V $WHO" >>"$D/log"'
`
	inBothModes(t, func(t *testing.T, p *place) {
		dir := p.dir(t)
		r := p.startIn(t, dir, p.file(t, yaml), "--run-id", "r1", "--param", "who=me")
		r.result(t).want(t, 1, map[string]string{"build": succeeded, "other": succeeded, "flaky": failed, "last": dependencyFailed})
		if err := os.WriteFile(filepath.Join(dir, "repaired"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		o := p.orchestrator(t, "runs", "retry", "r1", "--run-id", "r2", "-o", "json")
		var rep report
		if err := json.Unmarshal(o.stdout.Bytes(), &rep); err != nil || o.exit() != 0 {
			t.Fatalf("runs retry: exit %d, %v: %s", o.exit(), err, o.stderrText())
		}
		if rep.Run != "r2" || rep.Status != succeeded {
			t.Errorf("%s %s", rep.Run, rep.Status)
		}
		log := (&result{dir: dir}).lines(t, "log")
		slices.Sort(log[1:3])
		slices.Sort(log[:3])
		if want := []string{"build", "flaky", "other", "flaky", "last 7 me"}; !slices.Equal(log, want) {
			t.Errorf("started: %q, want %q", log, want)
		}
		for args, want := range map[string]string{"r2": "all of run r2 has succeeded", "nosuch": "there is no run nosuch"} {
			if o := p.orchestrator(t, "runs", "retry", args); o.exit() != 5 || !strings.Contains(o.stderrText(), want) {
				t.Errorf("runs retry %s: exit %d: %s", args, o.exit(), o.stderrText())
			}
		}
	})
}
