package modpipe_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/modpipe/modpipe"
	"github.com/modpipe/modpipe/modpipetest"
)

var errFlaky = errors.New("flaky")

// onAttempt fails before attempt n with an error.
func onAttempt(n int, err error) func(context.Context) (int, error) {
	return func(ctx context.Context) (int, error) {
		if k := modpipe.AttemptOf(ctx).Number; k < n {
			return 0, err
		}
		return n, nil
	}
}

func single(f func(context.Context) (int, error), opts ...modpipe.Option) func(*modpipe.Builder) {
	return func(p *modpipe.Builder) { modpipe.Add(p, "m", modpipe.Call(f), opts...) }
}

func TestWhatAnErrorSays(t *testing.T) {
	thrice := modpipe.Retry{Attempts: 3, Delay: time.Hour}
	tests := map[string]struct {
		define   func(*modpipe.Builder)
		status   string
		reason   string
		attempts int
	}{
		"tried again":           {single(onAttempt(3, errFlaky), thrice), "succeeded", "", 3},
		"not often enough":      {single(onAttempt(4, errFlaky), thrice), "failed", "flaky", 3},
		"permanent":             {single(onAttempt(2, fmt.Errorf("no: %w", modpipe.Permanent(errFlaky))), thrice), "failed", "no: flaky", 1},
		"after a time":          {single(onAttempt(2, modpipe.RetryAfter(time.Minute, errFlaky)), thrice), "succeeded", "", 2},
		"no attempt is left":    {single(onAttempt(2, modpipe.RetryAfter(time.Minute, errFlaky))), "failed", "flaky", 1},
		"skipped":               {single(onAttempt(2, modpipe.Skip("nothing to do"))), "skipped", "nothing to do", 1},
		"only other errors":     {single(onAttempt(2, errFlaky), modpipe.Retry{Attempts: 3, If: func(err error) bool { return !errors.Is(err, errFlaky) }}), "failed", "flaky", 1},
		"such errors":           {single(onAttempt(2, errFlaky), modpipe.Retry{Attempts: 3, If: func(err error) bool { return errors.Is(err, errFlaky) }}), "succeeded", "", 2},
		"ignored":               {single(onAttempt(2, errFlaky), modpipe.IgnoreFailure()), "ignored_failure", "flaky", 1},
		"an error without text": {single(onAttempt(2, errors.New(""))), "failed", "an error without text (*errors.errorString)", 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := modpipetest.New(t, test.define)
			o := p.Outcome("m")
			if o.Status != test.status || o.Reason != test.reason || p.Attempts("m") != test.attempts {
				t.Errorf("%v after %d attempts", o, p.Attempts("m"))
			}
		})
	}
}

func explode(ctx context.Context) (int, error) {
	if modpipe.AttemptOf(ctx).Number < 2 {
		panic("boom")
	}
	return 1, nil
}

func TestPanics(t *testing.T) {
	p := modpipetest.New(t, single(explode, modpipe.Retry{Attempts: 3}))
	o := p.Outcome("m")
	if o.Status != "failed" || p.Attempts("m") != 1 || !strings.HasPrefix(o.Reason, "panic: boom\n") || !strings.Contains(o.Reason, "modpipe_test.explode") {
		t.Errorf("%v after %d attempts", o, p.Attempts("m"))
	}
	p = modpipetest.New(t, single(explode, modpipe.Retry{Attempts: 3, Panics: true}))
	if o := p.Outcome("m"); !o.Succeeded() || p.Attempts("m") != 2 {
		t.Errorf("%v after %d attempts", o, p.Attempts("m"))
	}
}

func TestTimeout(t *testing.T) {
	p := modpipetest.New(t, single(func(ctx context.Context) (int, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	}, modpipe.Timeout(10*time.Millisecond)))
	if o := p.Outcome("m"); o.Status != "timed_out" || o.Reason != "timed out after 10ms" {
		t.Errorf("%v", o)
	}
}

func TestParametersOfAllTypes(t *testing.T) {
	define := func(p *modpipe.Builder) {
		s, b := modpipe.Param(p, "s", "a", ""), modpipe.Param(p, "b", true, "")
		i, d := modpipe.Param(p, "i", 3, ""), modpipe.Param(p, "d", time.Minute, "")
		f := modpipe.Param(p, "f", 0.5, "")
		text := modpipe.Add(p, "text", modpipe.Call4(func(_ context.Context, s string, b bool, i int, d time.Duration) (string, error) {
			return fmt.Sprint(s, b, i, d), nil
		}, s, b, i, d))
		modpipe.Add(p, "float", modpipe.Call2(func(_ context.Context, f float64, s string) (string, error) { return fmt.Sprint(f, " ", s), nil }, f, text))
	}
	if got := modpipetest.Result[string](modpipetest.New(t, define), "float"); got != "0.5 atrue 3 1m0s" {
		t.Errorf("defaults: %s", got)
	}
	given := modpipetest.New(t, define, modpipetest.Param("s", "x y"), modpipetest.Param("b", "false"), modpipetest.Param("i", "-1"),
		modpipetest.Param("d", "2h"), modpipetest.Param("f", "1e3"))
	if got := modpipetest.Result[string](given, "float"); got != "1000 x yfalse -1 2h0m0s" {
		t.Errorf("given: %s", got)
	}
	program, err := modpipe.Build("p", define)
	if err != nil {
		t.Fatal(err)
	}
	_, err = program.Pipeline(map[string]string{"i": "1.5", "d": "soon", "b": "perhaps", "nose": "x"}, nil)
	for _, want := range []string{`"1.5" is not a whole number`, `"soon" is not a duration`, `"perhaps" is neither true nor false`, `no parameter "nose"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

// A module does not find what another one left in memory: it would run on
// another machine.
func TestCapturedStateIsNotShared(t *testing.T) {
	p := modpipetest.New(t, func(p *modpipe.Builder) {
		seen := ""
		a := modpipe.Add(p, "a", modpipe.Call(func(context.Context) (string, error) { seen = "by a"; return "a", nil }))
		modpipe.Add(p, "b", modpipe.Call1(func(context.Context, string) (string, error) { return seen, nil }, a))
	})
	if got := modpipetest.Result[string](p, "b"); got != "" {
		t.Errorf("b has seen %q", got)
	}
}

type rich struct {
	When  time.Time
	Took  time.Duration
	Bytes []byte
	Map   map[string][]int `json:"map"`
	Next  *rich            `json:",omitempty"`
	Skip  chan int         `json:"-"`
}

func TestResultsArriveAsTheyWere(t *testing.T) {
	want := rich{When: time.Unix(1e9, 5).UTC(), Took: time.Second, Bytes: []byte{0, 255}, Map: map[string][]int{"a": {1, -2, 1 << 40}}, Next: &rich{Took: 1}}
	p := modpipetest.New(t, func(p *modpipe.Builder) {
		a := modpipe.Add(p, "a", modpipe.Call(func(context.Context) (rich, error) { return want, nil }))
		modpipe.Add(p, "b", modpipe.Call1(func(_ context.Context, r rich) (string, error) {
			return fmt.Sprint(r.When.Equal(want.When), r.Took, fmt.Sprintf("%x", r.Bytes), r.Map, *r.Next), nil
		}, a))
	})
	got := modpipetest.Result[string](p, "b")
	if same := fmt.Sprint(true, want.Took, "00ff", want.Map); !strings.HasPrefix(got, same) {
		t.Errorf("got %s, want %s", got, same)
	}
}

const ciFile = `
name: ci
params:
  greeting: {type: string, required: true}
modules:
  build: {run: make, outputs: [version]}
  deploy:
    needs: [build, checkout]
    uses: go:deploy
    with: {version: "${{ needs.build.outputs.version }}", branch: "${{ needs.checkout.result.Branch }}", dry-run: true, wait: 5s}
    if: needs.checkout.result.Branch == 'main'
  tell: {needs: [deploy], command: [echo, "${{ needs.deploy.result.url }}"], env: {GREETING: "${{ params.greeting }}"}}
`

type deployment struct {
	Version, Branch string
	DryRun          bool
	Wait            time.Duration
}

type deployed struct {
	URL string `json:"url"`
}

func withFile(text string) func(*modpipe.Builder) {
	return func(p *modpipe.Builder) {
		modpipe.Add(p, "checkout", modpipe.Call(checkout))
		p.Include(fstest.MapFS{"ci.yaml": {Data: []byte(text)}}, "ci.yaml")
		modpipe.Function(p, "deploy", func(_ context.Context, d deployment) (deployed, error) {
			return deployed{fmt.Sprintf("%s/%s/%v/%v", d.Branch, d.Version, d.DryRun, d.Wait)}, nil
		})
		built := p.Outputs("build")
		modpipe.Add(p, "version", modpipe.Call1(func(_ context.Context, o map[string]string) (string, error) { return o["version"], nil }, built))
	}
}

func TestIncludedFile(t *testing.T) {
	build := modpipetest.Stub("build", map[string]string{"version": "1.2"})
	p := modpipetest.New(t, withFile(ciFile), build, modpipetest.Stub("tell", map[string]string{}), modpipetest.Param("greeting", "hello"))
	if got := modpipetest.Result[string](p, "version"); got != "1.2" {
		t.Errorf("version %q", got)
	}
	if o := p.Outcome("tell"); !o.Succeeded() {
		t.Errorf("%v", o)
	}
	for _, m := range p.Report().Modules {
		if m.Name == "deploy" && fmt.Sprint(m.Result) != "map[url:main/1.2/true/5s]" {
			t.Errorf("deploy has returned %v", m.Result)
		}
	}
	p = modpipetest.New(t, withFile(ciFile), build, modpipetest.Param("greeting", "hello"), modpipetest.Stub("checkout", tree{"topic"}))
	if o := p.Outcome("deploy"); o.Status != "skipped" {
		t.Errorf("%v", o)
	}
}

func TestFaultsOfIncludedFiles(t *testing.T) {
	for want, change := range map[string][2]string{
		`ci.yaml:9:11: the program has no function "deplay"`: {"go:deploy", "go:deplay"},
		`ci.yaml:7: deploy: with has "versoin"`:              {"version: \"${{", "versoin: \"${{"},
		`deploy needs "checkuot", which does not exist`:      {"needs: [build, checkout]", "needs: [build, checkuot]"},
		`checkout is a Go function and has no outputs`:       {"needs.checkout.result.Branch ==", "needs.checkout.outputs.Branch =="},
		`build is a command and has no result`:               {"needs.build.outputs.version", "needs.build.result.version"},
		`an included file has no deadline`:                   {"name: ci\n", "name: ci\ndeadline: 1h\n"},
		`no included file has a module "build"`:              {"build: {run", "biuld: {run"},
		`module "version" is there already`:                  {"  build: {run", "  version: {run: x}\n  build: {run"},
	} {
		text := strings.Replace(ciFile, change[0], change[1], 1)
		if text == ciFile {
			t.Fatalf("%q does not exist", change[0])
		}
		if _, err := modpipe.Build("test", withFile(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in:\n%v", want, err)
		}
	}
}
