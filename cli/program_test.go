package cli_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/modpipe/modpipe"
	"github.com/modpipe/modpipe/cli"
)

// greeter is a program's definition.
func greeter(p *modpipe.Builder) {
	name := modpipe.Param(p, "name", "world", "whom to greet")
	hello := modpipe.Add(p, "hello", modpipe.Call1(func(ctx context.Context, name string) (string, error) {
		modpipe.Logger(ctx).Info("greeting", "name", name)
		if name == "nobody" {
			return "", errors.New("there is nobody to greet")
		}
		return "hello " + name, nil
	}, name))
	modpipe.Add(p, "shout", modpipe.Command{
		Run: `echo "text=$TEXT!" >> "$MODPIPE_OUTPUT"`, EnvFrom: map[string]modpipe.Value[string]{"TEXT": hello},
	}, modpipe.If(modpipe.Map(name, func(s string) bool { return s != "shy" }), "they are shy"))
}

func newGreeter(t *testing.T, define func(*modpipe.Builder)) *program {
	t.Helper()
	return newProgram(t, func(ctx context.Context, p cli.Process) int { return cli.Program(ctx, "greeter", define, p) })
}

func TestProgramRuns(t *testing.T) {
	p := newGreeter(t, greeter)
	code, stdout, stderr := p.exec(t, "run", "-o", "json", "--progress", "plain", "--param", "name=you")
	if code != 0 {
		t.Fatalf("exit %d\n%s", code, stderr)
	}
	wantAll(t, stdout, `"result": "hello you"`, `"text": "hello you!"`, `"pipeline": "greeter"`)
	wantAll(t, stderr, "greeting name=you")
	code, stdout, _ = p.exec(t, "run", "-o", "json", "--param", "name=shy")
	if code != 0 {
		t.Errorf("exit %d", code)
	}
	wantAll(t, stdout, `"reason": "they are shy"`)
	if code, _, stderr = p.exec(t, "run", "--param", "name=nobody"); code != 1 {
		t.Errorf("exit %d\n%s", code, stderr)
	}
	code, stdout, _ = p.exec(t, "runs", "list", "-o", "name")
	if code != 0 || strings.Count(stdout, "\n") != 3 {
		t.Errorf("exit %d, runs:\n%s", code, stdout)
	}
}

func TestProgramsCommands(t *testing.T) {
	p := newGreeter(t, greeter)
	_, stdout, _ := p.exec(t, "plan")
	wantAll(t, stdout, "hello", "shout", "2 modules in 2 waves")
	_, stdout, _ = p.exec(t, "graph", "-o", "mermaid")
	wantAll(t, stdout, "m0 --> m1")
	_, stdout, _ = p.exec(t, "validate")
	wantAll(t, stdout, "greeter: valid, 2 modules")
	_, stdout, _ = p.exec(t, "worker", "capabilities", "-o", "json")
	wantAll(t, stdout, `"os"`, `"program": {`, `"name": "greeter"`, `"build": "`)
	_, stdout, _ = p.exec(t, "worker", "capabilities")
	wantAll(t, stdout, "program  greeter (build ")
	for text, args := range map[string][]string{
		`unexpected argument "x.yaml": the pipeline is greeter itself`: {"run", "x.yaml"},
		`no parameter "nmae"`: {"run", "--param", "nmae=x"},
		`no module is called`: {"run", "--only", "bye"},
	} {
		if code, _, stderr := p.exec(t, args...); code != 2 || !strings.Contains(stderr, text) {
			t.Errorf("%v: exit %d\n%s", args, code, stderr)
		}
	}
}

func TestProgramWithFaultsRunsNothing(t *testing.T) {
	p := newGreeter(t, func(b *modpipe.Builder) {
		modpipe.Add(b, "a b", modpipe.Call(func(context.Context) (int, error) { return 0, nil }))
	})
	for _, args := range [][]string{{"run"}, {"validate"}, {"worker"}, {"plan"}} {
		code, _, stderr := p.exec(t, args...)
		if code != 2 || !strings.Contains(stderr, `program_test.go:82: "a b" is not a name`) {
			t.Errorf("%v: exit %d\n%s", args, code, stderr)
		}
	}
	if code, _, _ := p.exec(t, "version"); code != 0 {
		t.Error("version wants a pipeline")
	}
}

func TestRunAsAFunction(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	var said strings.Builder
	report, err := cli.Run(t.Context(), "greeter", greeter, cli.Options{Params: map[string]string{"name": "you"}, MaxParallel: 2, Workspace: t.TempDir(), Progress: &said})
	if err != nil || report.Status != "succeeded" || report.Modules[0].Result != "hello you" {
		t.Errorf("%+v, %v", report, err)
	}
	wantAll(t, said.String(), "greeting name=you")
	report, err = cli.Run(t.Context(), "greeter", greeter, cli.Options{Params: map[string]string{"name": "nobody"}, Workspace: t.TempDir()})
	if err != nil || report.Status != "failed" {
		t.Errorf("a failed run: %+v, %v", report, err)
	}
	_, err = cli.Run(t.Context(), "greeter", greeter, cli.Options{Params: map[string]string{"nmae": "x"}})
	if err == nil || !strings.Contains(err.Error(), `no parameter "nmae"`) {
		t.Errorf("a wrong parameter: %v", err)
	}
	_, err = cli.Run(t.Context(), "greeter", greeter, cli.Options{Category: []string{"a"}, SkipCategory: []string{"b"}})
	if err == nil || !strings.Contains(err.Error(), `--category: no category is called "a"`) || !strings.Contains(err.Error(), `--skip-category: no category is called "b"`) {
		t.Errorf("unknown categories: %v", err)
	}
}

func TestRunIsGivenUpWithItsContext(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	ctx, stop := context.WithCancel(t.Context())
	begun := make(chan struct{})
	define := func(p *modpipe.Builder) {
		modpipe.Add(p, "wait", modpipe.Call(func(ctx context.Context) (int, error) {
			close(begun)
			<-ctx.Done()
			return 0, context.Cause(ctx)
		}))
	}
	go func() {
		<-begun
		stop()
	}()
	began := time.Now()
	_, err := cli.Run(ctx, "waiter", define, cli.Options{Workspace: t.TempDir()})
	if err == nil || time.Since(began) > 30*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

func ExampleRun() {
	report, err := cli.Run(context.Background(), "greeter", greeter, cli.Options{Params: map[string]string{"name": "gopher"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report.Status, report.Modules[0].Result)
	// Output: succeeded hello gopher
}

// TestOptionsOfTheCacheAreChecked gives a program what the flags of run refuse.
func TestOptionsOfTheCacheAreChecked(t *testing.T) {
	for flag, o := range map[string]cli.Options{
		"--cache:":           {Cache: "sometimes"},
		"--cache-namespace:": {CacheNamespace: "a.b"},
		"--cache-from:":      {CacheFrom: []string{"main, a.b"}},
	} {
		o.Params, o.Workspace = map[string]string{"name": "you"}, t.TempDir()
		if _, err := cli.Run(t.Context(), "greeter", greeter, o); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s %v", flag, err)
		}
	}
}
