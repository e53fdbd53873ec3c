package cli_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/cli"
	"github.com/modpipe/modpipe/test/natstest"
)

// program is one of the two programs in its own directory.
type program struct {
	run     func(context.Context, cli.Process) int
	dir     string
	env     []string
	signals chan os.Signal
}

func newProgram(t *testing.T, run func(context.Context, cli.Process) int) *program {
	t.Helper()
	dir := t.TempDir()
	return &program{
		run: run, dir: dir, signals: make(chan os.Signal, 3), // as many as mean something
		env: []string{"HOME=" + dir, "XDG_STATE_HOME=" + filepath.Join(dir, "state"), "USER=me"},
	}
}

// connect is a connection to a server, until the end of the test.
func connect(t *testing.T, url string) *broker.Conn {
	t.Helper()
	c, err := broker.Connect(t.Context(), broker.Config{URL: url, Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// onServer is the orchestrator beside a server of the test's own.
func onServer(t *testing.T) (*program, *broker.Conn) {
	t.Helper()
	url := natstest.StartServer(t, nil).URL()
	p := newProgram(t, cli.Orchestrator)
	p.env = append(p.env, "NATS_URL="+url)
	return p, connect(t, url)
}

func (p *program) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// exec runs the program in this process.
func (p *program) exec(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = p.run(t.Context(), cli.Process{
		Args: args, Env: p.env, Dir: p.dir, Stdout: &out, Stderr: &errs, Signals: p.signals,
	})
	return code, out.String(), errs.String()
}

// golden compares text with a file, or writes it when UPDATE_GOLDEN is set.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, text, want)
	}
}

func wantAll(t *testing.T, text string, wanted ...string) {
	t.Helper()
	for _, w := range wanted {
		if !strings.Contains(text, w) {
			t.Errorf("no %q in\n%s", w, text)
		}
	}
}
