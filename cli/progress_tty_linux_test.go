package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/modpipe/modpipe/test/pty"
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

// startChild runs the program in a terminal.
func startChild(t *testing.T, term *pty.Terminal, dir string, args string, env ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLiveChild$")
	cmd.Env = append([]string{
		childArgs + "=" + args, "TERM=xterm-256color", "HOME=" + dir, "XDG_STATE_HOME=" + dir, "PATH=" + os.Getenv("PATH"),
	}, env...)
	cmd.Dir = dir
	term.Start(t, cmd)
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
		drive      func(t *testing.T, p *pty.Terminal)
		code       int
		want       []string
		never      []string
	}{
		"to its end": {
			file: "name: short\nmodules:\n  a: {run: echo hello}\n", args: "run ci.yaml", code: 0,
			drive: func(*testing.T, *pty.Terminal) {},
			want:  []string{"MODULE", "\x1b[32msucceeded"},
		},
		"without colour": {
			file: "name: short\nmodules:\n  a: {run: echo hello}\n", args: "run ci.yaml", env: []string{"NO_COLOR=1"}, code: 0,
			drive: func(*testing.T, *pty.Terminal) {},
			want:  []string{"1 module: 1 succeeded"}, never: []string{"\x1b[3", "\x1b[1m", "\x1b[9"},
		},
		"one interrupt": {
			file: strings.Replace(slow, "CLEAN", "echo cleaned", 1), args: "run ci.yaml", code: 130,
			drive: func(t *testing.T, p *pty.Terminal) {
				t.Helper()
				p.Press(t, "\x03")
				opened(t, filepath.Join(p.Cmd.Dir, "cleaning"))
			},
			want: []string{"SIGINT: cancelling the run", "3 modules: 2 succeeded, 1 cancelled"}, never: []string{"^C", "garbage"},
		},
		"two interrupts": {
			file: strings.Replace(slow, "CLEAN", "sleep 600", 1), args: "run ci.yaml", code: 130,
			drive: func(t *testing.T, p *pty.Terminal) {
				t.Helper()
				p.Press(t, "\x03")
				opened(t, filepath.Join(p.Cmd.Dir, "cleaning"))
				if err := p.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
					t.Error(err)
				}
			},
			want: []string{"SIGTERM: ending everything", "3 modules: 1 succeeded, 2 cancelled"}, never: []string{"^C"},
		},
		"asked for plain lines": {
			file: "name: short\nmodules:\n  a: {run: echo hello}\n", args: "run ci.yaml --progress plain", code: 0,
			drive: func(*testing.T, *pty.Terminal) {},
			want:  []string{"a | hello"}, never: []string{"\x1b[?25"},
		},
		"in a CI": {
			file: "name: short\nmodules:\n  a: {run: echo hello}\n", args: "run ci.yaml", env: []string{"CI=true"}, code: 0,
			drive: func(*testing.T, *pty.Terminal) {},
			want:  []string{"a | hello"}, never: []string{"\x1b[?25"},
		},
		"a terminal that can do nothing": {
			file: "name: short\nmodules:\n  a: {run: echo hello}\n", args: "run ci.yaml", env: []string{"TERM=dumb"}, code: 0,
			drive: func(*testing.T, *pty.Terminal) {},
			want:  []string{"a | hello"}, never: []string{"\x1b"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, dir := pty.Open(t), t.TempDir()
			before := p.Modes(t)
			if err := os.WriteFile(filepath.Join(dir, "ci.yaml"), []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, fifo := range []string{"begun", "cleaning"} {
				if err := unix.Mkfifo(filepath.Join(dir, fifo), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			startChild(t, p, dir, c.args, c.env...)
			if strings.Contains(c.file, "begun") {
				p.Await(t, " done, ")
				if p.Modes(t).Lflag&unix.ECHO != 0 {
					t.Error("keys are echoed into the view")
				}
				p.Press(t, "garbage\r")
				p.Resize(t, 60, 10)
				opened(t, filepath.Join(dir, "begun"))
			}
			c.drive(t, p)
			if code := p.Wait(t); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, want := range c.want {
				p.Await(t, want)
			}
			p.Await(t, "run 20")
			for _, never := range c.never {
				if strings.Contains(p.Text(), never) {
					t.Errorf("%q in\n%q", never, p.Text())
				}
			}
			p.Sane(t, before)
		})
	}
}

// opened waits for a module to have written to a fifo.
func opened(t *testing.T, path string) {
	t.Helper()
	if _, err := os.ReadFile(path); err != nil {
		t.Error(err)
	}
}
