package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestBrokenMachineLeavesTheWorkToOthers checks that a worker without scratch space hands
// back attempts that it cannot start. Without another worker, the run waits and reports
// why and until when. A worker that joins gets the work.
func TestBrokenMachineLeavesTheWorkToOthers(t *testing.T) {
	p := newPlace(t, workers)
	p.server(t)
	missing := filepath.Join(p.home, "nowhere")
	broken := start(t, p.workspace, p.env("TMPDIR="+missing), binaries.worker, "--server", p.url, "--name", "broken", "--workspace", p.workspace)
	r := p.start(t, `
name: e2e
modules:
  m: {matrix: {i: [1, 2, 3, 4]}, run: 'true'}
`)
	r.awaitWhere(t, "a wait for a machine that can begin", func(e event) bool {
		return e.Event == "waiting" && strings.Contains(e.Missing, "broken: create a directory for the attempt in "+missing) && !e.Until.IsZero()
	})
	broken.awaitText(t, "this machine cannot begin attempts")
	if list := p.orchestrator(t, "workers", "list").stdout.String(); !strings.Contains(list, "takes no attempts: create a directory") {
		t.Errorf("workers list: %s", list)
	}
	p.worker(t, "good")
	res := r.result(t)
	res.want(t, 0, all(succeeded, "m (i=1)", "m (i=2)", "m (i=3)", "m (i=4)"))
	for _, m := range res.Report.Modules {
		if by := m.Attempts[len(m.Attempts)-1].Worker; by != "good" {
			t.Errorf("%s ran on %s", m.Name, by)
		}
	}
}

// TestStuckWorkerLosesItsKeyFirst stops a worker process while its module runs on. The
// guard kills the module before the key's next holder starts.
func TestStuckWorkerLosesItsKeyFirst(t *testing.T) {
	const yaml = `
name: e2e
modules:
  m:
    requires: {tags: [t]}
    not-in-parallel: [K]
    run: |
      if [ "$MODPIPE_ATTEMPT" = 1 ]; then echo $$ >"$D/pid"; echo up >"$D/log"; exec sleep 1000; fi
      read -r _ _ state _ <"/proc/$(cat "$D/pid")/stat" || state=gone
      echo "$state" >"$D/first"
`
	withOwnWorkers(t, func(t *testing.T, p *place) {
		p.runArgs = append(p.runArgs, "--worker-ttl", "1s")
		ws := p.twoTagged(t, "--worker-ttl", "1s")
		r := p.start(t, yaml)
		stuck := r.await(t, event{Event: "module.started", Module: "m", Attempt: 1}).Worker
		awaitFile(t, filepath.Join(r.dir, "log"), "up")
		ws[stuck].signal(t, syscall.SIGSTOP)
		r.await(t, event{Event: "module.started", Module: "m", Attempt: 2})
		ws[stuck].signal(t, syscall.SIGCONT)
		res := r.result(t)
		res.want(t, 0, all(succeeded, "m"))
		if state := res.lines(t, "first")[0]; state != "Z" && state != "gone" {
			t.Errorf("the first holder was in state %s when the second started", state)
		}
	})
}

// TestPausedEmbeddedRun stops a run in one process for longer than its worker's time to
// live, as a closed lid does. The run kills and repeats nothing.
func TestPausedEmbeddedRun(t *testing.T) {
	p := newPlace(t, standalone)
	dir := p.dir(t)
	gate := newGate(t, dir, "gate")
	r := p.startIn(t, dir, p.file(t, `
name: e2e
modules:
  ends: {not-in-parallel: [K], run: 'echo "ends $MODPIPE_ATTEMPT" >>"$D/log"; read _ <"$D/gate"'}
  lasts: {not-in-parallel: [L], run: 'echo "lasts $MODPIPE_ATTEMPT" >>"$D/log"; sleep 3; echo later >>"$D/log"; read _ <"$D/gate"'}
`), "--worker-ttl", "1s", "--max-parallel", "2")
	for _, m := range []string{"ends 1", "lasts 1"} {
		awaitFile(t, filepath.Join(r.dir, "log"), m)
	}
	r.signal(t, syscall.SIGSTOP)
	awaitState(t, r.cmd.Process.Pid, "T")
	gate.open(t)
	awaitFile(t, filepath.Join(r.dir, "log"), "later")
	r.signal(t, syscall.SIGCONT)
	gate.open(t)
	res := r.result(t)
	res.want(t, 0, all(succeeded, "ends", "lasts"))
	for _, m := range []string{"ends", "lasts"} {
		if got := res.Report.module(t, m).attempts(); got != "succeeded" {
			t.Errorf("attempts of %s: %s", m, got)
		}
	}
}

// awaitState waits until a process is in a state of /proc/PID/stat.
func awaitState(t *testing.T, pid int, state string) {
	t.Helper()
	stat := filepath.Join("/proc", strconv.Itoa(pid), "stat")
	for text := ""; !strings.Contains(text, ") "+state+" "); {
		data, err := os.ReadFile(stat)
		if err != nil {
			t.Fatal(err)
		}
		text = string(data)
	}
}

// TestHomeWithoutHOME checks that modules have HOME and USER when the worker's environment
// lacks them.
func TestHomeWithoutHOME(t *testing.T) {
	p := newPlace(t, workers)
	p.server(t)
	env := slices.DeleteFunc(p.env(), func(v string) bool { return strings.HasPrefix(v, "HOME=") })
	start(t, p.workspace, env, binaries.worker, "--server", p.url, "--name", "bare", "--workspace", p.workspace)
	p.run(t, `
name: e2e
modules:
  m: {run: 'test -d "$HOME" && test -n "$USER"'}
`).want(t, 0, all(succeeded, "m"))
}
