package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/modpipe/modpipe/test/faultproxy"
)

// twoTagged starts two workers with the tag t.
func (p *place) twoTagged(t *testing.T, args ...string) map[string]*program {
	t.Helper()
	ws := map[string]*program{}
	for _, name := range []string{"one", "two"} {
		ws[name] = p.worker(t, name, append([]string{"--tags", "t", "--max-parallel", "2"}, args...)...)
	}
	return ws
}

// twice is a module whose first attempt waits at the gate "first" and whose
// second at "second".
const twice = `
name: e2e
modules:
  a:
    requires: {tags: [t]}%s
    run: |
      if [ "$MODPIPE_ATTEMPT" = 1 ]; then gate=first; else gate=second; fi
      echo "pid $$"
      echo "start $MODPIPE_ATTEMPT $MODPIPE_FENCING_TOKEN" >>"$D/log"
      read _ <"$D/$gate"
      echo "by=$MODPIPE_ATTEMPT" >>"$MODPIPE_OUTPUT"
      echo "end $MODPIPE_ATTEMPT" >>"$D/log"
  b: {needs: [a], requires: {tags: [t]}, env: {BY: "${{ needs.a.outputs.by }}"}, run: 'echo "b after $BY" >>"$D/log"'}
`

// keyed and free are the two kinds of modules: one claims before it starts,
// the other starts without a question.
var kinds = map[string]string{"free": "", "keyed": "\n    not-in-parallel: [K]"}

func TestKilledWorker(t *testing.T) {
	for kind, key := range kinds {
		t.Run(kind, func(t *testing.T) {
			withOwnWorkers(t, func(t *testing.T, p *place) {
				ws := p.twoTagged(t)
				dir := p.dir(t)
				newGate(t, dir, "first")
				second := newGate(t, dir, "second")
				r := p.startIn(t, dir, p.file(t, fmt.Sprintf(twice, key)))
				r.awaitNumber(t, "a", "pid")
				lost := r.await(t, event{Event: "module.started", Module: "a", Attempt: 1}).Worker
				ws[lost].kill(t)
				killed := time.Now()
				r.await(t, event{Event: "worker.lost", Worker: lost})
				again := r.await(t, event{Event: "module.started", Module: "a", Attempt: 2})
				t.Logf("running elsewhere after %v", again.Time.Sub(killed))
				if took := again.Time.Sub(killed); took > 9*time.Second { // the queue alone would give it again after 10 s
					t.Errorf("it ran elsewhere after %v, want 3.5 s or so", took)
				}
				if again.Worker == lost {
					t.Errorf("the second attempt is on %s, which was killed", lost)
				}
				second.open(t)
				res := r.result(t)
				res.want(t, 0, all(succeeded, "a", "b"))
				if got := res.Report.module(t, "a").attempts(); got != "lost, succeeded" {
					t.Errorf("attempts: %s", got)
				}
			})
		})
	}
}

func TestPausedWorker(t *testing.T) {
	for kind, key := range kinds {
		t.Run(kind, func(t *testing.T) {
			withOwnWorkers(t, func(t *testing.T, p *place) {
				ws := p.twoTagged(t)
				dir := p.dir(t)
				first, second := newGate(t, dir, "first"), newGate(t, dir, "second")
				r := p.startIn(t, dir, p.file(t, fmt.Sprintf(twice, key)))
				pid := r.awaitNumber(t, "a", "pid")
				paused := r.await(t, event{Event: "module.started", Module: "a", Attempt: 1}).Worker
				ws[paused].signal(t, syscall.SIGSTOP)
				r.await(t, event{Event: "module.started", Module: "a", Attempt: 2})
				lost := r.await(t, event{Event: "worker.lost", Worker: paused})
				first.open(t) // the first attempt ends well, too late
				gone(t, pid)
				ws[paused].signal(t, syscall.SIGCONT)
				r.awaitWhere(t, paused+" is back", func(e event) bool {
					return e.Event == "worker.joined" && e.Worker == paused && e.Seq > lost.Seq
				})
				second.open(t)
				res := r.result(t)
				res.want(t, 0, all(succeeded, "a", "b"))
				if got := res.Report.module(t, "a").attempts(); got != "lost, succeeded" {
					t.Errorf("attempts: %s", got)
				}
				log := res.lines(t, "log")
				if log[len(log)-1] != "b after 2" {
					t.Errorf("the late result was taken: %q", log)
				}
				tokensGrow(t, log)
			})
		})
	}
}

// tokensGrow checks the fencing tokens in lines "start ATTEMPT TOKEN".
func tokensGrow(t *testing.T, log []string) {
	t.Helper()
	last := -1
	for _, line := range log {
		var attempt, token int
		if n, _ := fmt.Sscanf(line, "start %d %d", &attempt, &token); n < 2 {
			continue
		}
		if token <= last {
			t.Errorf("fencing token %d after %d", token, last)
		}
		last = token
	}
}

func TestPoisonModule(t *testing.T) {
	const yaml = `
name: e2e
modules:
  poison: {requires: {tags: [t]}, max-losses: 2, retry: {attempts: 5, delay: 1ms}, run: 'read _ <"$D/gate"; kill -9 $PPID'}
`
	withOwnWorkers(t, func(t *testing.T, p *place) {
		p.runArgs = append(p.runArgs, "--worker-ttl", "1s")
		p.twoTagged(t, "--worker-ttl", "1s")
		dir := p.dir(t)
		gate := newGate(t, dir, "gate")
		start := p.startIn(t, dir, p.file(t, yaml))
		for n := range 2 {
			start.await(t, event{Event: "module.started", Module: "poison", Attempt: n + 1})
			gate.open(t)
		}
		r := start.result(t)
		r.want(t, 1, all(failed, "poison"))
		m := r.Report.module(t, "poison")
		if m.attempts() != "lost, lost" {
			t.Fatalf("attempts: %s", m.attempts())
		}
		reasonNames("poison", "worker lost 2 times", m.Attempts[0].Worker, m.Attempts[1].Worker)(t, r)
	})
}

// TestPoisonBeforeItsClaim runs a module that kills its worker before the claim is stored.
// Its job is redelivered after a while and claimed before it starts.
func TestPoisonBeforeItsClaim(t *testing.T) {
	const yaml = `
name: e2e
modules:
  poison: {requires: {tags: [t]}, max-losses: 1, run: kill -9 $PPID}
`
	withOwnWorkers(t, func(t *testing.T, p *place) {
		t.Parallel()
		p.runArgs = append(p.runArgs, "--worker-ttl", "1s")
		p.twoTagged(t, "--worker-ttl", "1s")
		r := p.run(t, yaml)
		r.want(t, 1, all(failed, "poison"))
		reasonNames("poison", "worker lost once")(t, r)
	})
}

func TestDrain(t *testing.T) {
	// The worker that runs a drains. It finishes a, and c goes to another worker.
	const yaml = `
name: e2e
modules:
  a: {requires: {tags: [t]}, run: 'read _ <"$D/first"'}
  b: {run: 'read _ <"$D/second"', requires: {tags: [other]}}
  c: {needs: [b], requires: {tags: [t]}, run: 'true'}
`
	for _, how := range []string{"signal", "command"} {
		t.Run(how, func(t *testing.T) {
			withOwnWorkers(t, func(t *testing.T, p *place) {
				ws := p.twoTagged(t)
				p.worker(t, "other", "--tags", "other")
				dir := p.dir(t)
				first, second := newGate(t, dir, "first"), newGate(t, dir, "second")
				r := p.startIn(t, dir, p.file(t, yaml))
				leaving := r.await(t, event{Event: "module.started", Module: "a"}).Worker
				r.await(t, event{Event: "module.started", Module: "b"})
				if how == "signal" {
					ws[leaving].signal(t, syscall.SIGTERM)
				} else if o := p.orchestrator(t, "workers", "drain", leaving); o.exit() != 0 {
					t.Fatalf("workers drain: exit %d", o.exit())
				}
				ws[leaving].awaitText(t, "drain")
				second.open(t)
				r.await(t, event{Event: "module.ended", Module: "c"})
				first.open(t)
				res := r.result(t)
				res.want(t, 0, all(succeeded, "a", "b", "c"))
				res.ranOn(t, "a", leaving)
				if c := res.Report.module(t, "c").Attempts[0].Worker; c == leaving {
					t.Errorf("c ran on %s, which drains", leaving)
				}
				if code := ws[leaving].wait(t); code != 0 {
					t.Errorf("the drained worker exits with %d", code)
				}
			})
		})
	}
}

func TestHandBack(t *testing.T) {
	for kind, key := range kinds {
		t.Run(kind, func(t *testing.T) {
			withOwnWorkers(t, func(t *testing.T, p *place) {
				ws := p.twoTagged(t, "--drain-timeout", "100ms")
				dir := p.dir(t)
				newGate(t, dir, "first")
				second := newGate(t, dir, "second")
				r := p.startIn(t, dir, p.file(t, fmt.Sprintf(twice, key)))
				pid := r.awaitNumber(t, "a", "pid")
				leaving := r.await(t, event{Event: "module.started", Module: "a", Attempt: 1}).Worker
				ws[leaving].signal(t, syscall.SIGINT)
				if code := ws[leaving].wait(t); code != 0 {
					t.Errorf("the drained worker exits with %d", code)
				}
				gone(t, pid)
				second.open(t)
				res := r.result(t)
				res.want(t, 0, all(succeeded, "a", "b"))
				if got := res.Report.module(t, "a").attempts(); got != "handed_back, succeeded" {
					t.Errorf("attempts: %s", got)
				}
				tokensGrow(t, res.lines(t, "log"))
			})
		})
	}
}

func TestWorkerStopsImmediatelyAtTheSecondSignal(t *testing.T) {
	for first, second := range map[syscall.Signal]syscall.Signal{syscall.SIGINT: syscall.SIGTERM, syscall.SIGTERM: syscall.SIGINT} {
		code := 128 + int(second)
		t.Run(second.String(), func(t *testing.T) {
			withOwnWorkers(t, func(t *testing.T, p *place) {
				ws := p.twoTagged(t)
				dir := p.dir(t)
				newGate(t, dir, "first")
				gate := newGate(t, dir, "second")
				r := p.startIn(t, dir, p.file(t, fmt.Sprintf(twice, "")))
				pid := r.awaitNumber(t, "a", "pid")
				leaving := r.await(t, event{Event: "module.started", Module: "a"}).Worker
				ws[leaving].signal(t, first)
				ws[leaving].awaitText(t, "drain")
				ws[leaving].signal(t, second)
				if got := ws[leaving].wait(t); got != code {
					t.Errorf("exit %d, want %d", got, code)
				}
				gone(t, pid)
				gate.open(t)
				r.result(t).want(t, 0, all(succeeded, "a", "b"))
			})
		})
	}
}

func TestExitWhenIdle(t *testing.T) {
	withOwnWorkers(t, func(t *testing.T, p *place) {
		r := p.start(t, "name: e2e\nmodules: {a: {requires: {tags: [t]}, run: 'true'}}\n")
		r.await(t, event{Event: "waiting"})
		w := p.worker(t, "brief", "--tags", "t", "--exit-when-idle")
		r.result(t).want(t, 0, all(succeeded, "a"))
		if p.mode == workers { // an embedded server ends with its run
			if code := w.wait(t); code != 0 {
				t.Errorf("exit %d", code)
			}
		}
	})
}

// restarting is a run of which one module is in flight and one waits while
// the server restarts.
const restarting = `
name: e2e
modules:
  a: {run: 'read _ <"$D/first"; echo v=a >>"$MODPIPE_OUTPUT"; echo a >>"$D/log"'}
  k: {not-in-parallel: [K], run: 'read _ <"$D/second"; echo k >>"$D/log"'}
  k2: {not-in-parallel: [K], needs: [{module: k, optional: true}], run: 'echo k2 >>"$D/log"'}
  b: {needs: [a], env: {V: "${{ needs.a.outputs.v }}"}, run: 'echo "b$V" >>"$D/log"'}
`

func TestNATSRestart(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		t.Run(s.String(), func(t *testing.T) {
			p := newPlace(t, workers)
			server := p.server(t)
			p.worker(t, "w1", "--max-parallel", "2", "--worker-ttl", "10s")
			p.worker(t, "w2", "--max-parallel", "2", "--worker-ttl", "10s")
			dir := p.dir(t)
			first, second := newGate(t, dir, "first"), newGate(t, dir, "second")
			r := p.startIn(t, dir, p.file(t, restarting), "--worker-ttl", "10s")
			r.await(t, event{Event: "module.started", Module: "a"})
			r.await(t, event{Event: "module.started", Module: "k"})
			server.signal(t, s)
			server.wait(t)
			first.open(t) // a ends while there is no server
			server.start(t)
			r.await(t, event{Event: "module.ended", Module: "b"})
			second.open(t)
			res := r.result(t)
			res.want(t, 0, all(succeeded, "a", "k", "k2", "b"))
			for _, m := range res.Report.Modules {
				if m.attempts() != "succeeded" {
					t.Errorf("attempts of %s: %s", m.Name, m.attempts())
				}
			}
			log := res.lines(t, "log")
			slices.Sort(log)
			if got := strings.Join(log, " "); got != "a ba k k2" {
				t.Errorf("what ran: %s", got)
			}
		})
	}
}

// TestConnectionCutUnderAResult loses a worker's commit, or the answer to it,
// and then the connection.
func TestConnectionCutUnderAResult(t *testing.T) {
	const yaml = `
name: e2e
modules:
  a: {%srequires: {tags: [behind-proxy]}, run: 'echo a >>"$D/log"; read _ <"$D/first"; echo by=$MODPIPE_ATTEMPT >>"$MODPIPE_OUTPUT"'}
  b: {needs: [a], requires: {tags: [behind-proxy]}, run: 'true'}
`
	ttl := []string{"--worker-ttl", "1m"} // longer than any reconnection takes: no worker is lost
	for name, way := range map[string]faultproxy.Way{"commit lost": faultproxy.Requests, "answer lost": faultproxy.Replies} {
		for kind, key := range map[string]string{"free": "", "keyed": "not-in-parallel: [K], "} {
			t.Run(name+", "+kind, func(t *testing.T) {
				p := newPlace(t, workers)
				server := p.server(t)
				x := newProxy(t, server.addr)
				w := p.workerAt(t, x.url, "w1", append(ttl, "--tags", "behind-proxy")...)
				dir := p.dir(t)
				first := newGate(t, dir, "first")
				r := p.startIn(t, dir, p.file(t, fmt.Sprintf(yaml, key)), ttl...)
				r.await(t, event{Event: "module.started", Module: "a"})
				awaitFile(t, filepath.Join(dir, "log"), "a")
				x.LoseOnOpen(way)
				first.open(t)
				if way == faultproxy.Replies {
					r.await(t, event{Event: "module.ended", Module: "a"})
				} else {
					awaitGone(t, dir)
				}
				x.Reset()
				res := r.result(t)
				res.want(t, 0, all(succeeded, "a", "b"))
				if got := res.Report.module(t, "a").attempts(); got != "succeeded" {
					t.Errorf("attempts: %s", got)
				}
				if log := res.lines(t, "log"); len(log) != 1 {
					t.Errorf("it ran %d times", len(log))
				}
				w.signal(t, syscall.SIGTERM)
				if code := w.wait(t); code != 0 {
					t.Errorf("the worker exits with %d", code)
				}
			})
		}
	}
}

// awaitGone waits until no process of the run is left.
func awaitGone(t *testing.T, dir string) {
	t.Helper()
	for _, pid := range processes(dir) {
		gone(t, pid)
	}
}

func TestEightRunsAtOnce(t *testing.T) {
	const yaml = `
name: e2e
modules:
  list: {run: 'echo "list=[1,2,3,4,5,6,7,8]" >>"$MODPIPE_OUTPUT"'}
  each: {needs: [list], matrix: {n: "${{ fromJSON(needs.list.outputs.list) }}"}, run: 'echo "$MODPIPE_MATRIX_N" >>"$D/log"'}
  alone: {needs: [list], not-in-parallel: [K], run: 'true'}
  last: {needs: [each, alone], run: 'test $(wc -l <"$D/log") = 8'}
`
	want := all(succeeded, "list", "alone", "last")
	for n := range 8 {
		want[fmt.Sprintf("each (n=%d)", n+1)] = succeeded
	}
	inBothModes(t, func(t *testing.T, p *place) {
		var rs []*run
		for range 8 {
			rs = append(rs, p.start(t, yaml))
		}
		for _, r := range rs {
			r.result(t).want(t, 0, want)
		}
	})
}

// TestCancelReachesAProcessQuickly measures from the signal to the end of the
// process.
func TestCancelReachesAProcessQuickly(t *testing.T) {
	const yaml = "name: e2e\nmodules: {a: {run: 'echo pid $$; exec sleep 300'}}\n"
	inBothModes(t, func(t *testing.T, p *place) {
		r := p.start(t, yaml)
		pid := r.awaitNumber(t, "a", "pid")
		told := time.Now()
		r.signal(t, syscall.SIGINT)
		gone(t, pid)
		took := time.Since(told)
		t.Logf("the process was gone after %v", took)
		if took > 5*time.Second { // less than a second, unless the machine has no time for it
			t.Errorf("a cancellation took %v to end a process, want under a second", took)
		}
		r.result(t).want(t, 130, all(cancelled, "a"))
	})
}

func TestNoFileIsLeft(t *testing.T) {
	p := newPlace(t, standalone)
	tmp := filepath.Join(p.home, "tmp")
	if err := os.Mkdir(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	file := p.file(t, "name: e2e\nmodules: {a: {run: 'touch \"$TMPDIR/x\"'}, b: {run: exit 1}}\n")
	o := start(t, p.workspace, p.env("TMPDIR="+tmp), binaries.orchestrator, "run", file)
	if code := o.wait(t); code != 1 {
		t.Errorf("exit %d", code)
	}
	left, err := os.ReadDir(tmp)
	if err != nil || len(left) > 0 {
		t.Errorf("left in TMPDIR: %v, %v", left, err)
	}
}
