package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sharing is a run whose module holds a key that other runs hold too. It
// fails when another module is inside, and notes its fencing token in $S.
const sharing = `
name: e2e
modules:
  m:
    not-in-parallel: [{key: db, scope: cluster}]
    run: |
      mkdir "$S/inside"
      echo "start $MODPIPE_ATTEMPT $MODPIPE_FENCING_TOKEN" >>"$S/log"
      WORK
      rmdir "$S/inside"
`

// sharers is a place with two workers, and a directory that all runs write to.
func sharers(t *testing.T) (*place, string, map[string]*program) {
	t.Helper()
	p := newPlace(t, workers)
	p.server(t)
	there := map[string]*program{}
	for _, name := range []string{"w1", "w2"} {
		there[name] = p.worker(t, name, "--max-parallel", "2")
	}
	return p, p.dir(t), there
}

// share starts a run that holds the key while it does some work.
func (p *place) share(t *testing.T, shared, id, work string) *run {
	t.Helper()
	return p.start(t, strings.Replace(sharing, "WORK", work, 1), "--run-id", id, "--env", "S="+shared)
}

// waits awaits the report of the holder that a run waits for.
func (r *run) waits(t *testing.T, what string) {
	t.Helper()
	r.awaitWhere(t, "waiting for "+what, func(e event) bool {
		return e.Event == "waiting" && e.Module == "m" && strings.Contains(e.Missing, what)
	})
}

func sharedLog(t *testing.T, shared string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(shared, "log"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

// apart checks that two runs had the key one after the other.
func apart(t *testing.T, first, second *result) {
	t.Helper()
	a, b := first.Report.module(t, "m"), second.Report.module(t, "m")
	if b.Started.Before(a.Finished) {
		t.Errorf("one had the key until %v, the other from %v", a.Finished, b.Started)
	}
}

// TestKeyOfTheCluster checks that two runs, each with its own orchestrator, never hold the
// key together. The second run has the greater fencing token.
func TestKeyOfTheCluster(t *testing.T) {
	p, shared, _ := sharers(t)
	pass := newGate(t, shared, "pass")
	one := p.share(t, shared, "one", `read _ <"$S/pass"`)
	one.await(t, event{Event: "module.started", Module: "m"})
	two := p.share(t, shared, "two", "true")
	two.waits(t, "key db of the cluster, which m of run one holds")
	pass.open(t)
	first, second := one.result(t), two.result(t)
	first.want(t, 0, all(succeeded, "m"))
	second.want(t, 0, all(succeeded, "m"))
	apart(t, first, second)
	log := sharedLog(t, shared)
	if len(log) != 2 {
		t.Fatalf("log %q", log)
	}
	tokensGrow(t, log)
}

// TestKeyOfADeadOrchestrator kills the orchestrator of a run that holds a key. Its worker
// runs on for longer than any lease lives. Another run gets the key only after the worker
// has ended. The run can be resumed.
func TestKeyOfADeadOrchestrator(t *testing.T) {
	p, shared, _ := sharers(t)
	killed := newGate(t, shared, "killed")
	one := p.share(t, shared, "one", `read _ <"$S/killed"; sleep 5`)
	one.await(t, event{Event: "module.started", Module: "m"})
	two := p.share(t, shared, "two", "true")
	two.waits(t, "run one")
	one.kill(t)
	died := time.Now()
	killed.open(t)
	second := two.result(t)
	second.want(t, 0, all(succeeded, "m"))
	log := sharedLog(t, shared)
	if len(log) != 2 {
		t.Fatalf("log %q", log)
	}
	tokensGrow(t, log)
	if waited := second.Report.module(t, "m").Started.Sub(died); waited < 3*time.Second {
		t.Errorf("the key was given away %v after its orchestrator had died, while the worker ran on", waited)
	}
	if got := p.orchestrator(t, "resume", "one").exit(); got != 0 {
		t.Errorf("resume: exit %d", got)
	}
}

// TestKeyOfALostWorker kills the worker that holds a key. Its attempt is lost before the
// other run or the next attempt gets the key.
func TestKeyOfALostWorker(t *testing.T) {
	p, shared, there := sharers(t)
	one := p.share(t, shared, "one", `[ $MODPIPE_ATTEMPT -gt 1 ] || { rmdir "$S/inside"; echo sleeps >"$S/holder"; exec sleep 300; }`)
	holder := one.await(t, event{Event: "module.started", Module: "m"}).Worker
	two := p.share(t, shared, "two", "true")
	two.waits(t, "run one")
	awaitFile(t, filepath.Join(shared, "holder"), "sleeps") // its claim is earlier
	there[holder].kill(t)
	lost := one.await(t, event{Event: "module.retrying", Module: "m"})
	first, second := one.result(t), two.result(t)
	first.want(t, 0, all(succeeded, "m"))
	second.want(t, 0, all(succeeded, "m"))
	if got := first.Report.module(t, "m").attempts(); got != "lost, succeeded" {
		t.Errorf("attempts of the run that lost its worker: %s", got)
	}
	if began := second.Report.module(t, "m").Started; began.Before(lost.Time) {
		t.Errorf("the other run began at %v, before the attempt was lost at %v", began, lost.Time)
	}
	log := sharedLog(t, shared)
	if len(log) != 3 {
		t.Fatalf("log %q", log)
	}
	tokensGrow(t, log)
}
