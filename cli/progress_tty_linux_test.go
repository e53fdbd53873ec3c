package cli

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childArgs has the test binary be the program, for TestLiveChild.
const childArgs = "MODPIPE_TEST_CHILD_ARGS"

// TestLiveChild is the program that TestLiveInTerminal runs; by itself it does nothing.
func TestLiveChild(t *testing.T) {
	args := os.Getenv(childArgs)
	if args == "" {
		return
	}
	p := System()
	p.Args = strings.Split(args, " ")
	os.Exit(Orchestrator(t.Context(), p))
}

// terminal is a pseudo-terminal with a program in it.
type terminal struct {
	master, slave *os.File
	cmd           *exec.Cmd
	mu            sync.Mutex
	screen        bytes.Buffer // guarded by mu: all that was written
	news          chan struct{}
}

func openTerminal(t *testing.T) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	term := &terminal{master: master, slave: slave, news: make(chan struct{}, 1)} // one is enough to look again
	term.resize(t, 80, 24)
	return term
}

func (p *terminal) resize(t *testing.T, columns, rows uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(p.slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
		t.Fatal(err)
	}
}

func (p *terminal) modes(t *testing.T) unix.Termios {
	t.Helper()
	modes, err := unix.IoctlGetTermios(int(p.slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *modes
}

// start runs the program as a shell would: the terminal is its own.
func (p *terminal) start(t *testing.T, dir string, args string, env ...string) {
	t.Helper()
	p.cmd = exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLiveChild$")
	p.cmd.Env = append([]string{
		childArgs + "=" + args, "TERM=xterm-256color", "HOME=" + dir, "XDG_STATE_HOME=" + dir, "PATH=" + os.Getenv("PATH"),
	}, env...)
	p.cmd.Dir = dir
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = p.slave, p.slave, p.slave
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.read()
}

func (p *terminal) read() {
	buffer := make([]byte, 4096)
	for {
		n, err := p.master.Read(buffer)
		p.mu.Lock()
		p.screen.Write(buffer[:n])
		p.mu.Unlock()
		select {
		case p.news <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

func (p *terminal) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.screen.String()
}

// await waits until the program has written text.
func (p *terminal) await(t *testing.T, text string) {
	t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for !strings.Contains(p.text(), text) {
		select {
		case <-p.news:
		case <-limit.C:
			t.Fatalf("no %q in\n%q", text, p.text())
		}
	}
}

func (p *terminal) press(t *testing.T, keys string) {
	t.Helper()
	if _, err := io.WriteString(p.master, keys); err != nil {
		t.Fatal(err)
	}
}

func (p *terminal) wait(t *testing.T) (code int) {
	t.Helper()
	err := p.cmd.Wait()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return p.cmd.ProcessState.ExitCode()
}

// sane checks that the terminal is as it was, and its cursor visible.
func (p *terminal) sane(t *testing.T, before unix.Termios) {
	t.Helper()
	if after := p.modes(t); after != before {
		t.Errorf("modes were\n%+v\nand are\n%+v", before, after)
	}
	text := p.text()
	if strings.LastIndex(text, "\x1b[?25l") > strings.LastIndex(text, "\x1b[?25h") {
		t.Errorf("the cursor is hidden after\n%q", text)
	}
	for _, code := range []string{"\x1b[?1049", "\x1b[?2004", "\x1b[c", "\x1b[?u", "\x1b]1", "\x1b[?2026$p", "\x1b[0 q", "\x1b[1 q", "\x1b[2 q"} {
		if strings.Contains(text, code) {
			t.Errorf("%q in\n%q", code, text)
		}
	}
}

// TestLiveInTerminal: in a real terminal there is a view, keys are not
// echoed into it, Ctrl-C is a signal with the usual meaning, and the terminal
// is as it was however the program ends.
func TestLiveInTerminal(t *testing.T) {
	const slow = `
name: slow
modules:
  quick: {run: "echo done"}
  slow: {run: "echo begun; echo > begun; sleep 600", needs: [quick]}
  cleanup: {run: "echo > cleaning; CLEAN", needs: [slow], always-run: true}
`
	for name, c := range map[string]struct {
		file, args string
		env        []string
		drive      func(t *testing.T, p *terminal)
		code       int
		want       []string
		never      []string
	}{
		"to its end": {
			file: "name: short\nmodules:\n  a: {run: echo hello}\n", args: "run ci.yaml", code: 0,
			drive: func(*testing.T, *terminal) {},
			want:  []string{"MODULE", "\x1b[32msucceeded"},
		},
		"without colour": {
			file: "name: short\nmodules:\n  a: {run: echo hello}\n", args: "run ci.yaml", env: []string{"NO_COLOR=1"}, code: 0,
			drive: func(*testing.T, *terminal) {},
			want:  []string{"1 module: 1 succeeded"}, never: []string{"\x1b[3", "\x1b[1m", "\x1b[9"},
		},
		"one interrupt": {
			file: strings.Replace(slow, "CLEAN", "echo cleaned", 1), args: "run ci.yaml", code: 130,
			drive: func(t *testing.T, p *terminal) {
				t.Helper()
				p.press(t, "\x03")
				opened(t, filepath.Join(p.cmd.Dir, "cleaning"))
			},
			want: []string{"SIGINT: cancelling the run", "3 modules: 2 succeeded, 1 cancelled"}, never: []string{"^C", "garbage"},
		},
		"two interrupts": {
			file: strings.Replace(slow, "CLEAN", "sleep 600", 1), args: "run ci.yaml", code: 130,
			drive: func(t *testing.T, p *terminal) {
				t.Helper()
				p.press(t, "\x03")
				opened(t, filepath.Join(p.cmd.Dir, "cleaning"))
				if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
					t.Error(err)
				}
			},
			want: []string{"SIGTERM: ending everything", "3 modules: 1 succeeded, 2 cancelled"}, never: []string{"^C"},
		},
		"asked for plain lines": {
			file: "name: short\nmodules:\n  a: {run: echo hello}\n", args: "run ci.yaml --progress plain", code: 0,
			drive: func(*testing.T, *terminal) {},
			want:  []string{"a | hello"}, never: []string{"\x1b[?25"},
		},
		"in a CI": {
			file: "name: short\nmodules:\n  a: {run: echo hello}\n", args: "run ci.yaml", env: []string{"CI=true"}, code: 0,
			drive: func(*testing.T, *terminal) {},
			want:  []string{"a | hello"}, never: []string{"\x1b[?25"},
		},
		"a terminal that can do nothing": {
			file: "name: short\nmodules:\n  a: {run: echo hello}\n", args: "run ci.yaml", env: []string{"TERM=dumb"}, code: 0,
			drive: func(*testing.T, *terminal) {},
			want:  []string{"a | hello"}, never: []string{"\x1b"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, dir := openTerminal(t), t.TempDir()
			before := p.modes(t)
			if err := os.WriteFile(filepath.Join(dir, "ci.yaml"), []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, fifo := range []string{"begun", "cleaning"} {
				if err := unix.Mkfifo(filepath.Join(dir, fifo), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			p.start(t, dir, c.args, c.env...)
			if strings.Contains(c.file, "begun") {
				p.await(t, " done, ")
				if p.modes(t).Lflag&unix.ECHO != 0 {
					t.Error("keys are echoed into the view")
				}
				p.press(t, "garbage\r")
				p.resize(t, 60, 10)
				opened(t, filepath.Join(dir, "begun"))
			}
			c.drive(t, p)
			if code := p.wait(t); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, want := range c.want {
				p.await(t, want)
			}
			p.await(t, "run 20")
			for _, never := range c.never {
				if strings.Contains(p.text(), never) {
					t.Errorf("%q in\n%q", never, p.text())
				}
			}
			p.sane(t, before)
		})
	}
}

// TestLiveViewFails: a bug in the view costs the view, and neither the run nor
// the terminal.
func TestLiveViewFails(t *testing.T) {
	term := openTerminal(t)
	before := term.modes(t)
	go term.read()
	p := newTTYProgress(term.slave, []string{"TERM=xterm"}, true, nil)
	p.state.names = []string{"a worker that is not there"}
	events, report := history()
	p.event(events[0])
	<-p.done
	for _, e := range events[1:] {
		p.event(e)
	}
	p.end(report)
	p.close()
	for _, want := range []string{"going on with plain lines", "build | line 25", "4 modules: "} {
		term.await(t, want)
	}
	term.sane(t, before)
}

// TestLiveViewIsLeft: at any moment, and from any goroutine, the terminal can
// be given back; the last picture stays.
func TestLiveViewIsLeft(t *testing.T) {
	events, _ := history()
	for n := range events {
		term := openTerminal(t)
		before := term.modes(t)
		go term.read()
		p := newTTYProgress(term.slave, []string{"TERM=xterm"}, true, nil)
		for _, e := range events[:n] {
			p.event(e)
		}
		p.note("note %d", n)
		var g sync.WaitGroup
		for range 3 {
			g.Go(p.close)
		}
		g.Wait()
		term.await(t, "note "+strconv.Itoa(n))
		term.sane(t, before)
	}
}

// opened waits for a module to have written to a fifo.
func opened(t *testing.T, path string) {
	t.Helper()
	if _, err := os.ReadFile(path); err != nil {
		t.Error(err)
	}
}
