package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// program is a process under test. Its events are those that it printed on
// stderr with --progress json.
type program struct {
	name     string
	cmd      *exec.Cmd
	patience time.Duration // how long its end is waited for
	ended    chan struct{} // closed when it is gone

	mu      sync.Mutex
	stdout  bytes.Buffer
	stderr  bytes.Buffer
	line    []byte // of stderr, not yet ended
	events  []event
	changed chan struct{} // closed and replaced when something was printed
}

// start runs a program in dir with exactly this environment; it is killed
// when the test ends.
func start(t testing.TB, dir string, env []string, path string, args ...string) *program {
	t.Helper()
	p := &program{
		name:     path[strings.LastIndexByte(path, '/')+1:] + " " + strings.Join(args, " "),
		cmd:      exec.CommandContext(t.Context(), path, args...),
		patience: patience,
		ended:    make(chan struct{}),
		changed:  make(chan struct{}),
	}
	p.cmd.Dir, p.cmd.Env = dir, env
	p.cmd.Stdout, p.cmd.Stderr = outWriter{p}, errWriter{p}
	p.cmd.WaitDelay = 5 * time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait() //nolint:errcheck // how it ended is in ProcessState
		close(p.ended)
	}()
	t.Cleanup(func() {
		<-p.ended
		if t.Failed() {
			t.Logf("%s: exit %d\nstdout: %s\nstderr: %s", p.name, p.exit(), tail(&p.stdout), tail(&p.stderr))
		}
	})
	return p
}

func tail(b *bytes.Buffer) string {
	const most = 6000
	if s := b.String(); len(s) > most {
		return "… " + s[len(s)-most:]
	}
	return b.String()
}

// wait waits until the program is gone and returns its exit code, 128 + n
// after signal n.
func (p *program) wait(t testing.TB) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(p.patience):
		said := p.stderrText()
		p.signal(t, syscall.SIGQUIT) // prints its goroutines
		<-p.ended
		t.Fatalf("%s: still there after %v; it said\n%s", p.name, p.patience, said)
	}
	return p.exit()
}

func (p *program) exit() int {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *program) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatalf("%s: send %v: %v", p.name, s, err)
	}
}

// kill ends the program as a crash does, and waits until it is gone.
func (p *program) kill(t testing.TB) {
	t.Helper()
	p.signal(t, syscall.SIGKILL)
	p.wait(t)
}

// await waits for an event that agrees with want in all fields that want
// sets, and returns it. It checks all events since the start.
func (p *program) await(t testing.TB, want event) event {
	t.Helper()
	return p.awaitWhere(t, want.String(), want.agrees)
}

func (p *program) awaitWhere(t testing.TB, what string, found func(event) bool) event {
	t.Helper()
	deadline := time.After(patience)
	for {
		p.mu.Lock()
		i, changed := slices.IndexFunc(p.events, found), p.changed
		var e event
		if i >= 0 {
			e = p.events[i]
		}
		p.mu.Unlock()
		if i >= 0 {
			return e
		}
		select {
		case <-changed:
		case <-p.ended:
			if p.has(found) {
				continue
			}
			t.Fatalf("%s ended with %d without event %s", p.name, p.exit(), what)
		case <-deadline:
			t.Fatalf("%s: no event %s within %v", p.name, what, patience)
		}
	}
}

// awaitNumber waits for a line "WORD NUMBER" of a module's output.
func (p *program) awaitNumber(t testing.TB, module, word string) int {
	t.Helper()
	e := p.awaitWhere(t, "output "+word+" of "+module, func(e event) bool {
		return e.Event == "module.output" && e.Module == module && strings.HasPrefix(e.Text, word+" ")
	})
	n, err := strconv.Atoi(strings.TrimPrefix(e.Text, word+" "))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (p *program) has(found func(event) bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.events, found)
}

// awaitText waits until stderr holds text.
func (p *program) awaitText(t testing.TB, text string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		p.mu.Lock()
		found, changed := strings.Contains(p.stderr.String(), text), p.changed
		p.mu.Unlock()
		if found {
			return
		}
		select {
		case <-changed:
		case <-p.ended:
			if strings.Contains(p.stderrText(), text) {
				return
			}
			t.Fatalf("%s ended with %d and did not say %q", p.name, p.exit(), text)
		case <-deadline:
			t.Fatalf("%s: did not say %q within %v", p.name, text, patience)
		}
	}
}

func (p *program) stderrText() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

type outWriter struct{ *program }

func (w outWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stdout.Write(b)
}

type errWriter struct{ *program }

func (w errWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.line = append(w.line, b...)
	for {
		i := bytes.IndexByte(w.line, '\n')
		if i < 0 {
			break
		}
		w.take(w.line[:i+1])
		w.line = w.line[i+1:]
	}
	close(w.changed)
	w.changed = make(chan struct{})
	return len(b), nil
}

// take sorts a line of stderr: an event, or text for people. The text does not contain the
// output of modules, because tests scan it often.
func (p *program) take(line []byte) {
	var e event
	if line[0] == '{' && json.Unmarshal(line, &e) == nil && e.Event != "" {
		p.events = append(p.events, e)
		if e.Event == "module.output" {
			return
		}
	}
	p.stderr.Write(line)
}
