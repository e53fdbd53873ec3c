package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// fills has a module that waits until the disk is full, and then has output and a result.
// Its dependent shows that neither is lost.
const fills = `
name: e2e
modules:
  before: {run: 'echo before >>"$D/log"; echo v=1 >>"$MODPIPE_OUTPUT"'}
  during:
    needs: before
    run: |
      ulimit -S -f unlimited
      echo waits >>"$D/log"; read _ <"$D/gate"
      echo one; echo two; echo three
      echo w=2 >>"$MODPIPE_OUTPUT"
  after: {needs: [before, during], env: {V: "${{ needs.before.outputs.v }}", W: "${{ needs.during.outputs.w }}"}, run: 'echo "after $V $W" >>"$D/log"'}
`

// room limits the size of the files of a program, which then sees a full disk. A write
// beyond the limit fails after the part that fits.
func (p *program) room(t testing.TB, bytes uint64) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_FSIZE, nil, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = min(bytes, limit.Max)
	if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_FSIZE, &limit, nil); err != nil {
		t.Fatal(err)
	}
}

const plenty = 1 << 40

// full are the kinds of full disks: without room, or with room for the beginning of the
// next record of a run.
var full = map[string]func(testing.TB, string) uint64{
	"no room": noRoom, "half a message": half,
}

func noRoom(testing.TB, string) uint64 { return 1 }

func half(t testing.TB, store string) uint64 {
	t.Helper()
	return sizeOfRuns(t, store) + 20
}

// sizeOfRuns is how long the file is that the logs of runs are in.
func sizeOfRuns(t testing.TB, store string) uint64 {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(store, "jetstream/$G/streams/MP_RUNS/msgs/1.blk"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	info, err := os.Stat(files[0])
	if err != nil {
		t.Fatal(err)
	}
	return uint64(info.Size())
}

// TestFullDisk fills the disk of the server during a run. A program that writes reports
// the full disk and waits. When the disk has room and the server has been started again,
// the run continues. Nothing is lost and nothing runs twice.
func TestFullDisk(t *testing.T) {
	for name, room := range full {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, workers)
			server := p.server(t)
			w := p.worker(t, "w1")
			p.serve(t, "one")
			dir := p.dir(t)
			gate := newGate(t, dir, "gate")
			p.detach(t, dir, fills, "--run-id", "r1")
			p.awaitClaim(t)
			server.room(t, room(t, server.store))
			gate.open(t)
			w.awaitText(t, "does not answer a write")
			w.awaitText(t, "Its log has the reason")
			server.room(t, plenty)
			server.kill(t)
			server.start(t)
			p.wentOn(t, dir, "before", "waits", "after 1 2")
			w.awaitText(t, "NATS stores again")
		})
	}
}

// TestFullDiskEmbedded does the same with an embedded server. The run restarts its server
// when the disk has room.
func TestFullDiskEmbedded(t *testing.T) {
	for name, room := range full {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, r, dir, _ := fillEmbedded(t, room)
			r.room(t, plenty)
			r.awaitText(t, "run succeeded")
			if code := r.wait(t); code != 0 {
				t.Errorf("exit %d", code)
			}
			p.wentOn(t, dir, "before", "waits", "after 1 2")
		})
	}
}

// TestFullDiskAndNoPatience checks that a run that does not wait for room can be resumed.
// Modules with a result keep it.
func TestFullDiskAndNoPatience(t *testing.T) {
	t.Parallel()
	p, r, dir, gate := fillEmbedded(t, noRoom)
	for _, step := range []struct { // the same signal twice within a second counts once
		signal syscall.Signal
		says   string
	}{{syscall.SIGINT, "cancelling the run"}, {syscall.SIGTERM, "ending everything"}, {syscall.SIGINT, ""}} {
		r.signal(t, step.signal)
		r.awaitText(t, step.says)
	}
	if code := r.wait(t); code != 143 {
		t.Errorf("exit %d", code)
	}
	again := p.resume(t, dir, "r1")
	gate.open(t)
	again.result(t).want(t, 0, all(succeeded, "before", "during", "after"))
	p.wentOn(t, dir, "before", "waits", "waits", "after 1 2")
}

// TestFullDiskFromTheBeginning checks that a program that cannot start reports why.
func TestFullDiskFromTheBeginning(t *testing.T) {
	t.Parallel()
	p := newPlace(t, standalone)
	file := p.file(t, fills)
	r := start(t, p.workspace, p.env(), "/bin/sh", "-c", `ulimit -S -f 0; exec "$0" run "$1"`, binaries.orchestrator, file)
	if code := r.wait(t); code != 3 {
		t.Errorf("exit %d", code)
	}
	if said := r.stderrText(); !strings.Contains(said, p.home) || !strings.Contains(said, "file too large") {
		t.Errorf("it does not say what is full: %s", said)
	}
}

// awaitClaim waits until the log of the run has the module's claim. An unclaimed attempt
// would be repeated after the connection breaks.
func (p *place) awaitClaim(t *testing.T) {
	t.Helper()
	for t.Context().Err() == nil {
		var report struct {
			Modules []struct{ Name, Status string }
		}
		_ = json.Unmarshal(p.orchestrator(t, "runs", "show", "r1", "-o", "json").stdout.Bytes(), &report) // once it is there
		if slices.ContainsFunc(report.Modules, func(m struct{ Name, Status string }) bool {
			return m.Name == "during" && m.Status == "running"
		}) {
			return
		}
	}
}

// fillEmbedded fills the disk of a run's own server, and returns when that has
// been noticed.
func fillEmbedded(t *testing.T, room func(testing.TB, string) uint64) (p *place, r *run, dir string, opened *gate) {
	t.Helper()
	p = newPlace(t, standalone)
	dir = p.dir(t)
	opened = newGate(t, dir, "gate")
	r = p.startIn(t, dir, p.file(t, fills), "--run-id", "r1", "--progress", "plain")
	p.awaitClaim(t)
	r.room(t, room(t, filepath.Join(p.home, "state/modpipe/*/nats")))
	opened.open(t)
	r.awaitText(t, "could not write to its disk")
	return p, r, dir, opened
}

// wentOn checks that the run of fills has ended with all starts and all output.
func (p *place) wentOn(t *testing.T, dir string, started ...string) {
	t.Helper()
	if wait := p.orchestrator(t, "runs", "wait", "r1"); wait.exit() != 0 {
		t.Errorf("runs wait: exit %d: %s", wait.exit(), wait.stderrText())
	}
	if got := (&result{dir: dir}).lines(t, "log"); !slices.Equal(got, started) {
		t.Errorf("started: %q, want %q", got, started)
	}
	logs := p.orchestrator(t, "runs", "logs", "r1").stdout.String()
	if got := strings.Fields(strings.ReplaceAll(logs, "during |", "")); !slices.Equal(got, []string{"one", "two", "three"}) {
		t.Errorf("output: %q", logs)
	}
}
