package modpipetest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/modpipe/modpipe"
	"github.com/modpipe/modpipe/modpipetest"
)

type book struct{ Title string }

func read(context.Context) (book, error)              { return book{"a real book"}, nil }
func title(_ context.Context, b book) (string, error) { return b.Title, nil }
func sizes(context.Context) ([]int, error)            { return []int{1, 2}, nil }
func double(_ context.Context, n int) (int, error)    { return 2 * n, nil }

func library(p *modpipe.Builder) {
	b := modpipe.Add(p, "read", modpipe.Call(read))
	modpipe.Add(p, "title", modpipe.Call1(title, b))
	modpipe.Add(p, "print", modpipe.Command{Run: "lpr", Stdin: modpipe.Map(b, func(b book) []byte { return []byte(b.Title) })})
	modpipe.Each(p, "double", modpipe.Add(p, "sizes", modpipe.Call(sizes)), double)
}

// refused runs f with a test that notes what would fail it.
func refused(t *testing.T, f func(testing.TB)) (text string) {
	t.Helper()
	defer func() { text = fmt.Sprint(recover()) }()
	f(noting{t})
	return ""
}

type noting struct{ testing.TB }

func (noting) Helper()                        {}
func (noting) Fatal(args ...any)              { panic(fmt.Sprint(args...)) }
func (noting) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

func TestWhatIsAskedWrongly(t *testing.T) {
	printed := modpipetest.Stub("print", map[string]string{})
	for want, ask := range map[string]func(testing.TB){
		`Stub: no module is called "reed"`:                   func(t testing.TB) { t.Helper(); modpipetest.New(t, library, modpipetest.Stub("reed", 1)) },
		`Stub: read returns modpipetest_test.book, not int`:  func(t testing.TB) { t.Helper(); modpipetest.New(t, library, modpipetest.Stub("read", 1)) },
		`title returns string, not int`:                      func(t testing.TB) { t.Helper(); modpipetest.Result[int](modpipetest.New(t, library, printed), "title") },
		`no module is called "titel"; there are read, title`: func(t testing.TB) { t.Helper(); modpipetest.New(t, library, printed).Outcome("titel") },
		`read has no result: read: failed: gone`: func(t testing.TB) {
			t.Helper()
			modpipetest.Result[book](modpipetest.New(t, library, modpipetest.StubError("read", errors.New("gone"))), "read")
		},
		`modpipetest runs no commands: say what it sets with Stub`: func(t testing.TB) {
			t.Helper()
			modpipetest.Result[map[string]string](modpipetest.New(t, library), "print")
		},
		`--param: the pipeline has no parameter "x"`:           func(t testing.TB) { t.Helper(); modpipetest.New(t, library, modpipetest.Param("x", "1")) },
		"the pipeline has faults:\nthe pipeline has no module": func(t testing.TB) { t.Helper(); modpipetest.New(t, func(*modpipe.Builder) {}) },
	} {
		if got := refused(t, ask); !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestStubs(t *testing.T) {
	p := modpipetest.New(t, library, modpipetest.Stub("read", book{"a stub"}), modpipetest.Stub("print", map[string]string{"pages": "3"}), modpipetest.Stub("double", 7))
	if status := p.Run(); status != "succeeded" {
		t.Fatal(p.Report().Error)
	}
	if got := modpipetest.Result[string](p, "title"); got != "a stub" {
		t.Errorf("title %q", got)
	}
	if got := modpipetest.Result[map[string]string](p, "print")["pages"]; got != "3" {
		t.Errorf("pages %q", got)
	}
	if got := modpipetest.Result[int](p, "double (item=2)"); got != 7 {
		t.Errorf("double %d", got)
	}
}

func TestAStubStillHasItsCondition(t *testing.T) {
	p := modpipetest.New(t, func(p *modpipe.Builder) {
		b := modpipe.Add(p, "read", modpipe.Call(read))
		modpipe.Add(p, "title", modpipe.Call1(title, b), modpipe.If(modpipe.Map(b, func(b book) bool { return b.Title == "" }), "it has a title"))
	}, modpipetest.Stub("title", "x"))
	if o := p.Outcome("title"); o.Status != "skipped" {
		t.Errorf("%v", o)
	}
}

func TestALargeRunTakesLittle(t *testing.T) {
	p := modpipetest.New(t, func(p *modpipe.Builder) {
		var all []modpipe.Value[int]
		for i := range 500 {
			all = append(all, modpipe.Add(p, fmt.Sprintf("n (i=%d)", i), modpipe.Call1(double, modpipe.Param(p, fmt.Sprintf("p%d", i), i, ""))))
		}
		modpipe.Add(p, "sum", modpipe.Call1(func(_ context.Context, n []int) (int, error) { return len(n), nil }, modpipe.All(all...)))
	})
	if got := modpipetest.Result[int](p, "sum"); got != 500 {
		t.Errorf("sum %d", got)
	}
}

// quiet is a test for examples, which have none.
type quiet struct{ noting }

func (quiet) Name() string             { return "example" }
func (quiet) Context() context.Context { return context.Background() }

func ExampleNew() {
	var t quiet // in a test: t *testing.T
	p := modpipetest.New(t, library,
		modpipetest.Stub("read", book{"Middlemarch"}),
		modpipetest.Stub("print", map[string]string{"pages": "880"}))
	fmt.Println(p.Run())
	fmt.Println(modpipetest.Result[string](p, "title"))
	fmt.Println(p.Outcome("print"))
	// Output:
	// succeeded
	// Middlemarch
	// print: succeeded
}

func ExampleStubError() {
	var t quiet // in a test: t *testing.T
	p := modpipetest.New(t, library, modpipetest.StubError("read", errors.New("no such book")))
	fmt.Println(p.Run())
	fmt.Println(p.Outcome("read"))
	fmt.Println(p.Outcome("title").Status, p.Attempts("title"))
	// Output:
	// failed
	// read: failed: no such book
	// dependency_failed 0
}

func ExampleParam() {
	var t quiet // in a test: t *testing.T
	p := modpipetest.New(t, func(p *modpipe.Builder) {
		modpipe.Add(p, "double", modpipe.Call1(double, modpipe.Param(p, "n", 1, "a number")))
	}, modpipetest.Param("n", "21"))
	fmt.Println(modpipetest.Result[int](p, "double"))
	// Output: 42
}

func ExampleStub() {
	var t quiet // in a test: t *testing.T
	p := modpipetest.New(t, library, modpipetest.Stub("sizes", []int{5}), modpipetest.Stub("print", map[string]string{}))
	fmt.Println(modpipetest.Result[int](p, "double (item=5)"))
	// Output: 10
}

func ExampleResult() {
	var t quiet // in a test: t *testing.T
	p := modpipetest.New(t, library, modpipetest.Stub("print", map[string]string{}))
	fmt.Println(modpipetest.Result[book](p, "read").Title)
	// Output: a real book
}

func ExamplePipeline() {
	var t quiet // in a test: t *testing.T
	p := modpipetest.New(t, func(p *modpipe.Builder) {
		modpipe.Add(p, "count", modpipe.Call(func(ctx context.Context) (int, error) {
			modpipe.Logger(ctx).Info("counted", "books", 3)
			return 3, nil
		}))
	})
	fmt.Print(p.Log("count")) // runs it
	for _, m := range p.Report().Modules {
		fmt.Println(m.Name, m.Status, m.Result)
	}
	// Output:
	// counted books=3
	// count succeeded 3
}

// What several tests begin with is a list of options.
func ExampleOption() {
	var t quiet // in a test: t *testing.T
	stubs := []modpipetest.Option{
		modpipetest.Stub("print", map[string]string{}),
		modpipetest.Stub("sizes", []int{}),
	}
	p := modpipetest.New(t, library, append(stubs, modpipetest.Stub("read", book{"Emma"}))...)
	fmt.Println(modpipetest.Result[string](p, "title"))
	// Output: Emma
}

// shelf is a program with a file: a command, a family, and a Go function.
func shelf(p *modpipe.Builder) {
	files := fstest.MapFS{"ci.yaml": {Data: []byte(`
name: ci
modules:
  build: {run: make, outputs: [version]}
  test: {needs: [build], matrix: {os: [linux, mac]}, run: make test}
  count: {uses: "go:count", with: {n: "3"}}
`)}}
	modpipe.Function(p, "count", func(_ context.Context, in struct{ N int }) (int, error) { return in.N, nil })
	modpipe.Add(p, "read", modpipe.Call(read))
	p.Include(files, "ci.yaml")
	tell := func(_ context.Context, all []modpipe.Outcome) (int, error) { return len(all), nil }
	modpipe.Add(p, "tell", modpipe.Call1(tell, modpipe.Outcomes(p.Added()...)), modpipe.AlwaysRun())
}

func TestModulesOfAnIncludedFileAreStubbedAndAwaited(t *testing.T) {
	p := modpipetest.New(t, shelf,
		modpipetest.Stub("build", map[string]string{"version": "1"}),
		modpipetest.Stub("test (os=linux)", map[string]string{}),
		modpipetest.Stub("test", map[string]string{}))
	if got := modpipetest.Result[int](p, "count"); got != 3 {
		t.Errorf("count is %d, want 3", got)
	}
	if got := modpipetest.Result[int](p, "tell"); got != 4 {
		t.Errorf("tell heard of %d modules, want read, build, test and count", got)
	}
	if got := modpipetest.Result[map[string]string](p, "build")["version"]; got != "1" {
		t.Errorf("version is %q", got)
	}
}

func TestAStubForWhatNeverRunsFails(t *testing.T) {
	for want, ask := range map[string]func(testing.TB){
		`Stub: no member is called "test (os=windows)"; there are test (os=linux), test (os=mac)`: func(t testing.TB) {
			t.Helper()
			modpipetest.New(t, shelf, modpipetest.Stub("test (os=windows)", map[string]string{}))
		},
		`Stub: count returns int, not string`: func(t testing.TB) {
			t.Helper()
			modpipetest.New(t, shelf, modpipetest.Stub("count", "x"))
		},
		`Stub: double (item=9) never runs`: func(t testing.TB) {
			t.Helper()
			modpipetest.New(t, library, modpipetest.Stub("print", map[string]string{}), modpipetest.Stub("double (item=9)", 1)).Run()
		},
	} {
		if got := refused(t, ask); !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestTheFirstFalseConditionGivesTheReason(t *testing.T) {
	yes := func(b book) bool { return b.Title != "" }
	no := func(b book) bool { return b.Title == "" }
	p := modpipetest.New(t, func(p *modpipe.Builder) {
		b := modpipe.Add(p, "read", modpipe.Call(read))
		modpipe.Add(p, "both", modpipe.Call1(title, b), modpipe.If(modpipe.Map(b, yes), "first"), modpipe.If(modpipe.Map(b, no), "second"))
		modpipe.Add(p, "all", modpipe.Call1(title, b), modpipe.If(modpipe.Map(b, yes), "first"), modpipe.If(modpipe.Map(b, yes), "second"))
	})
	if o := p.Outcome("both"); o.Status != "skipped" || o.Reason != "second" {
		t.Errorf("both: %v", o)
	}
	if o := p.Outcome("all"); o.Status != "succeeded" {
		t.Errorf("all: %v", o)
	}
}

func publish(ctx context.Context) (string, error) {
	token, err := modpipe.Secret(ctx, "TOKEN")
	if err != nil {
		return "", err
	}
	return token + "!", nil
}

func publisher(options ...modpipe.Option) func(*modpipe.Builder) {
	return func(p *modpipe.Builder) { modpipe.Add(p, "publish", modpipe.Call(publish), options...) }
}

func TestSecretsAreThoseOfTheTest(t *testing.T) {
	given := modpipetest.Secret("TOKEN", "of the test")
	for name, c := range map[string]struct {
		define  func(*modpipe.Builder)
		options []modpipetest.Option
		want    string
	}{
		"given":        {publisher(modpipe.Secrets("TOKEN")), []modpipetest.Option{given}, "publish: succeeded"},
		"of a worker":  {publisher(modpipe.SecretTerms{Name: "TOKEN", FromWorker: true}), []modpipetest.Option{given}, "publish: succeeded"},
		"not given":    {publisher(modpipe.Secrets("TOKEN")), nil, `publish: failed: the run has no secret TOKEN: give it by modpipetest.Secret("TOKEN", VALUE)`},
		"too short":    {publisher(modpipe.Secrets("TOKEN")), []modpipetest.Option{modpipetest.Secret("TOKEN", "1234")}, "secret TOKEN has 4 characters"},
		"short":        {publisher(modpipe.SecretTerms{Name: "TOKEN", AllowShort: true}), []modpipetest.Option{modpipetest.Secret("TOKEN", "1234")}, "publish: succeeded"},
		"not declared": {publisher(), []modpipetest.Option{given}, `module publish does not declare the secret "TOKEN"`},
		"a stub":       {publisher(modpipe.Secrets("TOKEN")), []modpipetest.Option{modpipetest.Stub("publish", "stub")}, "publish: succeeded"},
	} {
		if got := modpipetest.New(t, c.define, c.options...).Outcome("publish").String(); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s, want %q", name, got, c.want)
		}
	}
	p := modpipetest.New(t, publisher(modpipe.Secrets("TOKEN")), given)
	if got := modpipetest.Result[string](p, "publish"); got != "of the test!" {
		t.Errorf("%q", got)
	}
}

func ExampleSecret() {
	var t quiet // in a test: t *testing.T
	p := modpipetest.New(t, publisher(modpipe.Secrets("TOKEN")), modpipetest.Secret("TOKEN", "of the test"))
	fmt.Println(modpipetest.Result[string](p, "publish"))
	// Output: of the test!
}
