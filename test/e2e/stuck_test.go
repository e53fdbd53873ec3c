package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestStuckTerminal checks a run whose messages are not read, as on a stopped terminal. It
// continues to its end, and prints everything when the messages are read.
func TestStuckTerminal(t *testing.T) {
	inBothModes(t, func(t *testing.T, p *place) {
		dir := p.dir(t)
		file := p.file(t, `
name: e2e
modules:
  loud: {run: 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo "line $i of many, which are longer than any pipe holds"; done'}
  next: {needs: loud, run: 'echo there >>"$D/log"'}
`)
		cmd, said := p.startPiped(t, file, dir)
		awaitFile(t, filepath.Join(dir, "log"), "there")
		lines, other := 0, ""
		for s := bufio.NewScanner(said); s.Scan(); {
			if strings.Contains(s.Text(), fmt.Sprintf("line %d of many", lines+1)) {
				lines++
			} else {
				other += s.Text() + "\n"
			}
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %s", err, other)
		}
		if lines != 20000 || strings.Contains(other, "of many") || !strings.Contains(other, "run succeeded") {
			t.Errorf("%d lines, and\n%.2000s", lines, other)
		}
	})
}

// startPiped starts a run whose messages the test reads, or does not.
func (p *place) startPiped(t *testing.T, file, dir string, more ...string) (*exec.Cmd, io.ReadCloser) {
	t.Helper()
	args := slices.Concat([]string{"run", file, "--progress", "plain", "--env", "D=" + dir}, p.connection(), p.runArgs, more)
	cmd := exec.CommandContext(t.Context(), binaries.orchestrator, args...)
	cmd.Dir, cmd.Env = p.workspace, p.env()
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, said
}

// TestStuckLog checks a worker whose log is not read. Like any other, it kills modules that
// hold a key after it has lost NATS, and continues when NATS is back.
func TestStuckLog(t *testing.T) {
	p := newPlace(t, workers)
	s := p.server(t)
	dir := p.dir(t)
	pipe := newGate(t, dir, "stderr")
	log, err := os.OpenFile(pipe.f.Name(), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	worker := exec.CommandContext(t.Context(), binaries.worker, "--server", p.url, "--name", "w", "--workspace", p.workspace)
	worker.Dir, worker.Env, worker.Stderr = p.workspace, p.env(), log
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { worker.Wait() }) //nolint:errcheck // it was killed
	r := p.start(t, `
name: e2e
modules:
  m: {not-in-parallel: [K], run: 'echo "$MODPIPE_ATTEMPT" >>"$D/log"; test "$MODPIPE_ATTEMPT" = 2 || sleep 1000'}
`)
	awaitFile(t, filepath.Join(r.dir, "log"), "1")
	fill(t, pipe.f.Name())
	s.kill(t)
	awaitGone(t, r.dir)
	s.start(t)
	result := r.result(t)
	result.want(t, 0, all(succeeded, "m"))
	if a := result.Report.Modules[0].Attempts; len(a) != 2 || a[0].Status != "lost" {
		t.Errorf("%+v", a)
	}
}

// TestStuckTerminalInterrupted checks that signals work when their messages are not read.
func TestStuckTerminalInterrupted(t *testing.T) {
	p := newPlace(t, standalone)
	dir := p.dir(t)
	pipe := newGate(t, dir, "stderr")
	terminal, err := os.OpenFile(pipe.f.Name(), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := p.file(t, `
name: e2e
modules:
  m: {run: 'echo there >>"$D/log"; sleep 1000'}
  tidy: {needs: [m], always-run: true, run: 'echo tidied >>"$D/log"'}
`)
	cmd := exec.CommandContext(t.Context(), binaries.orchestrator, "run", file, "--progress", "plain", "--env", "D="+dir)
	cmd.Dir, cmd.Env, cmd.Stderr = p.workspace, p.env(), terminal
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	awaitFile(t, filepath.Join(dir, "log"), "there")
	fill(t, pipe.f.Name())
	interrupt := func() {
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
	}
	interrupt()
	awaitFile(t, filepath.Join(dir, "log"), "tidied")
	ended := make(chan struct{})
	go func() {
		cmd.Wait() //nolint:errcheck // the code tells
		close(ended)
	}()
	for left := false; !left; {
		interrupt() // two of them, more when the system makes one of two
		select {
		case <-ended:
			left = true
		case <-time.After(100 * time.Millisecond):
		}
	}
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit %d", code)
	}
	awaitGone(t, dir)
}

// TestReaderLeaves checks that a reader that stops reading, as `head` does, does not end
// the run.
func TestReaderLeaves(t *testing.T) {
	p := newPlace(t, standalone)
	dir := p.dir(t)
	gate := newGate(t, dir, "gate")
	file := p.file(t, `
name: e2e
modules:
  m: {run: 'read _ <"$D/gate"; echo on'}
  next: {needs: [m], run: 'echo there >>"$D/log"'}
`)
	cmd, said := p.startPiped(t, file, dir, "--report", filepath.Join(dir, "report.json"))
	for s := bufio.NewScanner(said); s.Scan() && !strings.Contains(s.Text(), "started"); {
	}
	if err := said.Close(); err != nil {
		t.Fatal(err)
	}
	gate.open(t)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	awaitFile(t, filepath.Join(dir, "log"), "there")
	if _, err := os.Stat(filepath.Join(dir, "report.json")); err != nil {
		t.Error(err)
	}
}

// TestHangUp checks that a closed terminal cancels the run in order. The signal may arrive
// twice.
func TestHangUp(t *testing.T) {
	// A child inherits the default of a handled signal, and also an ignored signal. The
	// parent of the tests may ignore this one.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	defer signal.Reset(syscall.SIGHUP)
	p := newPlace(t, standalone)
	r := p.start(t, `
name: e2e
modules:
  m: {run: 'echo there >>"$D/log"; sleep 1000'}
  tidy: {needs: [m], always-run: true, run: 'echo tidied >>"$D/log"; read _ <"$D/gate"'}
`)
	gate := newGate(t, r.dir, "gate")
	awaitFile(t, filepath.Join(r.dir, "log"), "there")
	r.signal(t, syscall.SIGHUP)
	awaitFile(t, filepath.Join(r.dir, "log"), "tidied")
	r.signal(t, syscall.SIGHUP)
	gate.open(t)
	r.result(t).want(t, 129, map[string]string{"m": cancelled, "tidy": succeeded})
}

// fill writes into a FIFO until nothing more fits.
func fill(t *testing.T, path string) {
	t.Helper()
	fd, err := syscall.Open(path, syscall.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd) //nolint:errcheck // it was only filled
	for _, size := range []int{4096, 1} {
		for err = nil; err == nil; {
			_, err = syscall.Write(fd, make([]byte, size))
		}
		if !errors.Is(err, syscall.EAGAIN) {
			t.Fatal(err)
		}
	}
}
