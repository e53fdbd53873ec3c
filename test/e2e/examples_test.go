package e2e

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// atHome makes the place's workspace this project, as for a user who has
// just cloned it.
func (p *place) atHome(t *testing.T) {
	t.Helper()
	p.workspace = root
	p.moreEnv = goEnv(t)
}

// goEnv is where Go keeps its caches, which the places' HOME would hide.
func goEnv(t *testing.T) []string {
	t.Helper()
	var env []string
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH", "GOPROXY", "GOFLAGS"} {
		value, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		env = append(env, name+"="+strings.TrimSpace(string(value)))
	}
	return env
}

// runExample runs an example in this project's work tree: in one process, and on two
// workers that share nothing.
func runExample(t *testing.T, file string, check func(t *testing.T, r *result), args ...string) {
	t.Helper()
	for _, m := range []mode{standalone, workers} {
		t.Run(string(m), func(t *testing.T) {
			p := newPlace(t, m)
			p.atHome(t)
			if m == workers {
				p.server(t)
				for _, name := range []string{"w1", "w2"} {
					p.apart(t, name, "--pass-env", "GO*")
				}
			}
			run := p.startFile(t, filepath.Join(root, "examples", file), args...)
			run.patience = 15 * time.Minute // one of them builds and tests this project
			r := run.result(t)
			r.consistent(t)
			if r.Exit != 0 {
				t.Errorf("exit %d: %s", r.Exit, r.Stderr)
			}
			check(t, r)
		})
	}
}

func TestHelloExample(t *testing.T) {
	runExample(t, "hello.yaml", func(t *testing.T, r *result) {
		if got := r.output("greet", "stdout"); len(got) != 1 || !strings.HasPrefix(got[0], "Hello, you!") {
			t.Errorf("it printed %q", got)
		}
	}, "--param", "whom=you")
}

func TestDataExample(t *testing.T) {
	runExample(t, "data.yaml", func(t *testing.T, r *result) {
		for name, want := range map[string]string{"process (shard=3)": "failed, succeeded", "process (shard=4)": "succeeded"} {
			if got := r.Report.module(t, name).attempts(); got != want {
				t.Errorf("attempts of %s: %s, want %s", name, got, want)
			}
		}
		if sum := r.Report.module(t, "merge").Outputs["sum"]; sum != "72006000" {
			t.Errorf("sum %v", sum)
		}
	})
}

func TestSalesExample(t *testing.T) {
	runExample(t, "sales.yaml", func(t *testing.T, r *result) {
		m := r.Report.module(t, "report")
		if total, rejected := m.Outputs["total"], m.Outputs["rejected"]; total != "3202500" || rejected != "40" {
			t.Errorf("total %v, rejected %v", total, rejected)
		}
	})
}

func TestGoProjectExample(t *testing.T) {
	runExample(t, "go-project.yaml", func(t *testing.T, r *result) {
		for _, name := range []string{"format", "vet", "build (os=linux, arch=amd64)", "build (os=linux, arch=arm64)", "build (os=darwin, arch=arm64)", "test (shard=1)", "report"} {
			if got := r.Report.module(t, name).Status; got != succeeded {
				t.Errorf("%s: %s", name, got)
			}
		}
		if !slices.ContainsFunc(r.output("report", "stdout"), func(line string) bool { return line == "build:  succeeded" }) {
			t.Errorf("it reports %q", r.output("report", "stdout"))
		}
	}, "--param", "shards=2", "--param", "packages=./pipeline ./jobs ./schedule") // the others are tested beside this
}

func TestSecretsExample(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("tok_a1b2c3d4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	runExample(t, "secrets.yaml", func(t *testing.T, r *result) {
		want := []string{"publishing 1.2 with a token of 12 characters", "Authorization: Bearer ***"}
		if got := r.output("publish", "stdout"); !slices.Equal(got, want) {
			t.Errorf("it printed %q", got)
		}
	}, "--secret", "PUBLISH_TOKEN=@"+token)
}

// TestEveryExampleHasATest finds examples without a test.
func TestEveryExampleHasATest(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "examples", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("examples_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.Contains(string(source), `runExample(t, "`+filepath.Base(f)+`"`) {
			t.Errorf("no test runs examples/%s", filepath.Base(f))
		}
	}
}

// TestREADME runs every block of shell in the README, in this project's work
// tree, as a reader would; but for two things: NATS gets a port that is free,
// and the commands that test and lint everything are only looked up.
func TestREADME(t *testing.T) {
	blocks := blocksOf(t, filepath.Join(root, "README.md"), "sh")
	if len(blocks) < 3 {
		t.Fatalf("only %d blocks of shell in the README", len(blocks))
	}
	for _, block := range blocks {
		runBlock(t, block)
	}
}

// runBlock runs a block of shell as a subtest. The programs are on its PATH.
func runBlock(t *testing.T, block string) {
	t.Helper()
	name, _, _ := strings.Cut(block, "\n")
	everything := regexp.MustCompile(`(?m)^make (test|lint)$`)
	t.Run(name, func(t *testing.T) {
		p := newPlace(t, standalone)
		p.atHome(t)
		_, port, _ := strings.Cut(freeAddress(t), ":")
		script := everything.ReplaceAllString(strings.ReplaceAll(block, "4222", port), "make -n $1")
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
		cmd.Dir, cmd.Env = root, p.env("PATH="+binaries.dir+string(os.PathListSeparator)+os.Getenv("PATH"))
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		output, err := os.Create(filepath.Join(p.home, "output"))
		if err != nil {
			t.Fatal(err)
		}
		defer output.Close()
		cmd.Stdout, cmd.Stderr = output, output // a file: what runs on in the background does not hold us up
		err = cmd.Run()
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) //nolint:errcheck // when the block left nothing behind
		if err != nil {
			said, _ := os.ReadFile(output.Name())
			t.Errorf("%v\n%s\n%s", err, script, said)
		}
	})
}

// blocksOf are the blocks of a Markdown file that are fenced as of a language.
func blocksOf(t *testing.T, path, language string) []string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var blocks []string
	var block []string
	inside := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		switch line := lines.Text(); {
		case line == "```"+language:
			inside, block = true, nil
		case line == "```" && inside:
			inside, blocks = false, append(blocks, strings.Join(block, "\n"))
		case inside:
			block = append(block, line)
		}
	}
	return blocks
}
