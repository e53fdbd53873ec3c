//go:build linux

package process

import (
	"errors"
	"log/slog"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/modpipe/modpipe/internal/exec"
	"github.com/modpipe/modpipe/internal/exec/exectest"
	"github.com/modpipe/modpipe/report"
)

func startTestGuard(t testing.TB) *guard {
	t.Helper()
	g, err := newGuard(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.close)
	return g
}

// guardedCommand starts a script under a guard and returns when it has
// written something. The channel receives its result.
func guardedCommand(t *testing.T, g *guard, text string, keyed bool) <-chan exec.Result {
	t.Helper()
	job := script(text)
	job.Keyed = keyed
	done := make(chan exec.Result, 1)
	c := newSetting(t, job)
	c.environ, c.guard = []string{"PATH=/usr/bin:/bin"}, g
	out := &exectest.Output{}
	up := make(chan struct{})
	var once sync.Once
	out.Grown = func(string) { once.Do(func() { close(up) }) }
	go func() { done <- c.run(t, exectest.NewStops(), out) }()
	<-up
	return done
}

// A worker that is killed leaves nothing running: the guard sees its pipe end.
func TestGuardEndsWhatADeadWorkerLeaves(t *testing.T) {
	g := startTestGuard(t)
	daemon := filepath.Join(t.TempDir(), "daemon")
	done := guardedCommand(t, g, "setsid sleep 300 >/dev/null & echo $! >"+daemon+"; echo up; sleep 300", false)
	g.mu.Lock()
	_ = g.watcher.in.Close() // as when the worker dies
	g.mu.Unlock()
	if e := <-done; *e.ExitCode != 137 {
		t.Errorf("%+v", e)
	}
	text, err := os.ReadFile(daemon)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	exectest.Until(t, "the daemon is gone", func() bool { return !alive(pid) })
}

// A worker may be killed after it has started a process and before it has announced
// the number to the guard.
func TestGuardEndsWhatAKilledWorkerWasStarting(t *testing.T) {
	g := startTestGuard(t)
	marker := "MODPIPE_OUTPUT=" + filepath.Join(t.TempDir(), "output")
	g.starts(marker, false)
	cmd := osexec.CommandContext(t.Context(), "sleep", "300")
	cmd.Env = []string{marker}
	ownSession(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	g.mu.Lock()
	_ = g.watcher.in.Close() // as when the worker dies
	g.mu.Unlock()
	var exit *osexec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("it ended with %v, want KILL", err)
	}
}

// A keyed command that a stuck worker was starting is killed at the deadline,
// and counts as killed when the worker announces its number later.
func TestGuardKillsAKeyedCommandThatAStuckWorkerWasStarting(t *testing.T) {
	g := startTestGuard(t)
	marker := "MODPIPE_OUTPUT=" + filepath.Join(t.TempDir(), "output")
	g.starts(marker, true)
	cmd := osexec.CommandContext(t.Context(), "sleep", "300")
	cmd.Env = []string{marker}
	ownSession(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := newProcess(cmd, g, marker)
	g.beat(time.Now())
	p.wait()
	g.begun(p, true)
	if g.account(p).killed.IsZero() {
		t.Error("the guard does not say that it has killed it")
	}
	p.reap()
}

// The guard of a worker without signs of life kills the keyed modules when the lease
// would lapse, and no others.
func TestGuardKillsKeyedModulesAtTheDeadline(t *testing.T) {
	g := startTestGuard(t)
	keyed := guardedCommand(t, g, "echo up; sleep 300", true)
	free := guardedCommand(t, g, "echo up; sleep 300", false)
	g.beat(time.Now().Add(100 * time.Millisecond))
	e := <-keyed
	if e.Status != report.AttemptLost || !strings.Contains(e.Error, "worker w1 could not renew its lease") {
		t.Errorf("the keyed module ended %s, %q", e.Status, e.Error)
	}
	select {
	case e := <-free:
		t.Errorf("the module without a key ended %s, %q", e.Status, e.Error)
	default:
	}
	g.close()
	<-free
}

// A worker that renews its lease in time keeps its keyed modules.
func TestGuardHeedsLaterSignsOfLife(t *testing.T) {
	g := startTestGuard(t)
	done := guardedCommand(t, g, "echo up; sleep 1", true)
	g.beat(time.Now().Add(time.Minute))
	g.beat(time.Now().Add(2 * time.Minute))
	if e := <-done; e.Status != report.AttemptSucceeded {
		t.Errorf("ended %s, %q", e.Status, e.Error)
	}
}

// A guard that was killed is replaced, and the new one knows the commands.
func TestKilledGuardIsReplaced(t *testing.T) {
	g := startTestGuard(t)
	done := guardedCommand(t, g, "echo up; sleep 300", true)
	g.mu.Lock()
	first := g.watcher
	g.mu.Unlock()
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-first.ended
	g.check(time.Now())
	g.beat(time.Now())
	if e := <-done; e.Status != report.AttemptLost {
		t.Errorf("ended %s, %q", e.Status, e.Error)
	}
}

// A suspended guard is killed and replaced: it must not act later on outdated
// knowledge.
func TestSilentGuardIsReplaced(t *testing.T) {
	g := startTestGuard(t)
	g.mu.Lock()
	first := g.watcher
	g.mu.Unlock()
	if err := first.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	g.check(time.Now().Add(2 * guardSilent))
	<-first.ended
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.watcher == nil || g.watcher == first {
		t.Error("the stopped guard was not replaced")
	}
}

// The time at which a process ended counts, and not the time at which the worker
// notices it.
func TestTimeOfTheEndDecidesAboutTheTimeout(t *testing.T) {
	g := startTestGuard(t)
	job := script("sleep 0.2")
	chosen := newSetting(t, job)
	chosen.guard = g
	h, err := chosen.executor().Start(t.Context(), chosen.task(exectest.NewStops()), &exectest.Output{})
	if err != nil {
		t.Fatal(err)
	}
	c := h.(*handle)
	defer c.Wait()
	p := c.p
	p.await()
	p.noticed = time.Now()
	exectest.Until(t, "the guard has seen the end", func() bool { return !g.account(p).ended.IsZero() })
	took := g.account(p).ended.Sub(p.began)
	p.noticed = p.noticed.Add(time.Hour) // the worker was suspended until then
	job.Timeout = took + 50*time.Millisecond
	exectest.Until(t, "the timeout has passed", func() bool { return time.Since(p.began) > job.Timeout })
	if ran := c.took(); ran > job.Timeout {
		t.Errorf("a command that ended in time ran for %v", ran)
	}
	job.Timeout = took / 2
	if ran := c.took(); ran <= job.Timeout {
		t.Errorf("a command that ended too late ran for %v", ran)
	}
}
