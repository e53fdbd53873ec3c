package modpipe_test

import (
	"context"
	"errors"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/modpipe/modpipe"
	"github.com/modpipe/modpipe/pipeline"
)

func itoa(n int) string { return strconv.Itoa(n) }

type tree struct{ Branch string }

func checkout(context.Context) (tree, error)               { return tree{"main"}, nil }
func version(_ context.Context, t tree) (string, error)    { return "1 of " + t.Branch, nil }
func done(_ context.Context, _ string) (struct{}, error)   { return struct{}{}, nil }
func onMain(t tree) bool                                   { return t.Branch == "main" }
func maybe(_ context.Context, _ *string) (struct{}, error) { return struct{}{}, nil }
func one(context.Context) (int, error)                     { return 1, nil }
func takes(context.Context, modpipe.Artifact) (int, error) { return 1, nil }

type hidden struct {
	Name  string
	state int
}

type locked struct {
	Name string
	Mu   sync.Mutex
}

var kept modpipe.Value[tree]

// Mistakes that are found when the pipeline is built. Each definition has its
// fault in the line that says FAULT, and what it is.
var mistakes = map[string]func(p *modpipe.Builder){
	"an artifact that is not produced": func(p *modpipe.Builder) {
		co := modpipe.Add(p, "checkout", modpipe.Call(checkout), modpipe.Produce("bin", "bin/**"))
		modpipe.Add(p, "m", modpipe.Call1(takes, modpipe.Files(co, "bim"))) // FAULT checkout produces no artifact "bim"; did you mean "bin"?
	},
	"an artifact of two modules": func(p *modpipe.Builder) {
		a := modpipe.Add(p, "a", modpipe.Call(one), modpipe.Produce("bin", "bin/**"))
		b := modpipe.Add(p, "b", modpipe.Call(one), modpipe.Produce("bin", "bin/**"))
		modpipe.Add(p, "m", modpipe.Call1(takes, modpipe.Files(modpipe.All(a, b), "bin"))) // FAULT Files is for the artifact of one module
	},
	"an artifact of no module": func(p *modpipe.Builder) {
		modpipe.Add(p, "m", modpipe.Call1(takes, modpipe.Files(modpipe.Value[int]{}, "bin"))) // FAULT m reads a value that no Add has returned
	},
	"an artifact of an always-run reader": func(p *modpipe.Builder) {
		a := modpipe.Add(p, "a", modpipe.Call(one), modpipe.Produce("bin", "bin/**"))
		modpipe.Add(p, "m", modpipe.Call1(takes, modpipe.Files(a, "bin")), modpipe.AlwaysRun()) // FAULT read it by modpipe.Optional
	},
	"a glob that leaves the workspace": func(p *modpipe.Builder) {
		modpipe.Add(p, "m", modpipe.Call(one), modpipe.Produce("bin", "../bin/**")) // FAULT artifact bin: "../bin/**" leaves the workspace
	},
	"an artifact without globs": func(p *modpipe.Builder) {
		modpipe.Add(p, "m", modpipe.Call(one), modpipe.Produce("bin")) // FAULT m: artifact bin has no globs
	},
	"an artifact twice": func(p *modpipe.Builder) {
		modpipe.Add(p, "m", modpipe.Call(one), modpipe.Produce("bin", "a"), modpipe.Produce("Bin", "b")) // FAULT m produces "Bin" twice
	},
	"an artifact on failure and always": func(p *modpipe.Builder) {
		modpipe.Add(p, "m", modpipe.Call(one), modpipe.Produces{Name: "x", Globs: []string{"x"}, Always: true, OnFailure: true}) // FAULT artifact x has OnFailure and Always
	},
	"consume without an artifact": func(p *modpipe.Builder) {
		modpipe.Add(p, "m", modpipe.Call(one), modpipe.Consume{}) // FAULT m: Consume has no artifact
	},
	"consume to elsewhere": func(p *modpipe.Builder) {
		a := modpipe.Add(p, "a", modpipe.Call(one), modpipe.Produce("bin", "bin/**"))
		modpipe.Add(p, "m", modpipe.Call(one), modpipe.Consume{Artifact: modpipe.Files(a, "bin"), To: "/tmp"}) // FAULT the directory of artifact bin: "/tmp" is absolute
	},
	"a cache without a platform": func(p *modpipe.Builder) {
		modpipe.Add(p, "m", modpipe.Call(one), modpipe.Cache{}) // FAULT m is cached, and nothing says for which OS and Arch
	},
	"a version of a command": func(p *modpipe.Builder) {
		modpipe.Add(p, "m", modpipe.Command{Run: "x"}, modpipe.Version("v1")) // FAULT Version is for Go functions, and this is a command
	},
	"a cache directory nowhere": func(p *modpipe.Builder) {
		modpipe.Add(p, "m", modpipe.Call(one), modpipe.CacheDir{Name: "d", Key: "k"}) // FAULT cache directory d has neither a path nor a variable
	},
	"a cache directory of files elsewhere": func(p *modpipe.Builder) {
		modpipe.Add(p, "m", modpipe.Call(one), modpipe.CacheDir{Name: "d", Env: "D", HashFiles: []string{"/etc/x"}}) // FAULT "/etc/x" is absolute
	},
	"a value of another pipeline": func(p *modpipe.Builder) {
		modpipe.Add(p, "version", modpipe.Call1(version, kept)) // FAULT a value of another pipeline
	},
	"a call that was never added": func(p *modpipe.Builder) {
		co := modpipe.Add(p, "checkout", modpipe.Call(checkout))
		_ = modpipe.Call1(version, co) // FAULT a call that was never added to the pipeline
	},
	"a call without inputs that was never added": func(p *modpipe.Builder) {
		modpipe.Add(p, "checkout", modpipe.Call(checkout))
		_ = modpipe.Call(checkout) // FAULT a call that was never added to the pipeline
	},
	"a duplicate name": func(p *modpipe.Builder) {
		modpipe.Add(p, "checkout", modpipe.Call(checkout))
		modpipe.Add(p, "Checkout", modpipe.Call(checkout)) // FAULT module "Checkout" is there already, at faults_test.go
	},
	"a family of a module's name": func(p *modpipe.Builder) {
		modpipe.Add(p, "build", modpipe.Call(one))
		modpipe.Add(p, "build (os=linux)", modpipe.Call(one)) // FAULT module "build" is there already
	},
	"an invalid name": func(p *modpipe.Builder) {
		modpipe.Add(p, "check out", modpipe.Call(checkout)) // FAULT "check out" is not a name
	},
	"an invalid member": func(p *modpipe.Builder) {
		modpipe.Add(p, "build (linux)", modpipe.Call(checkout)) // FAULT "build (linux)" is not the name of a member
	},
	"a field that would be lost": func(p *modpipe.Builder) {
		modpipe.Add(p, "a", modpipe.Call(func(context.Context) (hidden, error) { return hidden{state: 1}, nil })) // FAULT a: its result cannot travel: modpipe_test.hidden.state is not exported
	},
	"a lock in a result": func(p *modpipe.Builder) {
		modpipe.Add(p, "a", modpipe.Call(func(context.Context) (*locked, error) { return nil, nil })) // FAULT its result cannot travel: *modpipe_test.locked.Mu
	},
	"a channel": func(p *modpipe.Builder) {
		modpipe.Add(p, "a", modpipe.Call(func(context.Context) (chan int, error) { return nil, nil })) // FAULT its result cannot travel: chan int is a chan
	},
	"a function in a map": func(p *modpipe.Builder) {
		modpipe.Add(p, "a", modpipe.Call(func(context.Context) (map[string]func(), error) { return nil, nil })) // FAULT is a func
	},
	"an interface": func(p *modpipe.Builder) {
		modpipe.Add(p, "a", modpipe.Call(func(context.Context) ([]error, error) { return nil, nil })) // FAULT is an interface, and the type of what is in it would be lost
	},
	"an always-run module that reads a result": func(p *modpipe.Builder) {
		co := modpipe.Add(p, "checkout", modpipe.Call(checkout))
		modpipe.Add(p, "version", modpipe.Call1(version, co), modpipe.AlwaysRun()) // FAULT version reads the result of checkout, which may not be there: it always runs
	},
	"an always-run module whose condition reads a result": func(p *modpipe.Builder) {
		co := modpipe.Add(p, "checkout", modpipe.Call(checkout))
		modpipe.Add(p, "one", modpipe.Call(one), modpipe.AlwaysRun(), modpipe.If(modpipe.Map(co, onMain), "only main")) // FAULT one reads the result of checkout, which may not be there
	},
	"a reader of an ignored failure": func(p *modpipe.Builder) {
		co := modpipe.Add(p, "checkout", modpipe.Call(checkout), modpipe.IgnoreFailure())
		modpipe.Add(p, "version", modpipe.Call1(version, co)) // FAULT version reads the result of checkout, which may not be there: a failure of checkout is ignored; read it by modpipe.Optional
	},
	"the zero value": func(p *modpipe.Builder) {
		var v modpipe.Value[string]
		modpipe.Add(p, "done", modpipe.Call1(done, v)) // FAULT done reads a value that no Add has returned
	},
	"a zero value among others": func(p *modpipe.Builder) {
		values := make([]modpipe.Value[string], 2)
		all := modpipe.All(values...) // FAULT last reads a value that no Add has returned
		modpipe.Add(p, "last", modpipe.Call1(func(context.Context, []string) (int, error) { return 0, nil }, all))
	},
	"a function that is nil": func(p *modpipe.Builder) {
		var f func(context.Context) (int, error)
		modpipe.Add(p, "a", modpipe.Call(f)) // FAULT a: the function is nil
	},
	"no executor": func(p *modpipe.Builder) {
		modpipe.Add[int](p, "a", nil) // FAULT a has no executor
	},
	"a need on a name that a file does not have": func(p *modpipe.Builder) {
		p.Include(files, "ci.yaml")
		out := p.Outputs("biuld") // FAULT no included file has a module "biuld"
		modpipe.Add(p, "a", modpipe.Call1(func(context.Context, map[string]string) (int, error) { return 0, nil }, out))
	},
	"a file that does not exist": func(p *modpipe.Builder) {
		p.Include(files, "cd.yaml") // FAULT include cd.yaml: open cd.yaml: file does not exist
		modpipe.Add(p, "a", modpipe.Call(one))
	},
	"a module of the file's name": func(p *modpipe.Builder) {
		p.Include(files, "ci.yaml")
		modpipe.Add(p, "build", modpipe.Call(one)) // FAULT module "build" is there already, at ci.yaml:3
	},
	"a limit of two sizes": func(p *modpipe.Builder) {
		modpipe.Add(p, "a", modpipe.Call(one), modpipe.Limit{Name: "db", Max: 2})
		modpipe.Add(p, "b", modpipe.Call(one), modpipe.Limit{Name: "db", Max: 3}) // FAULT limit "db" has two sizes: 3 here, 2 at faults_test.go
	},
	"a limit of two scopes": func(p *modpipe.Builder) {
		modpipe.Add(p, "a", modpipe.Call(one), modpipe.Limit{Name: "db", Max: 2})
		modpipe.Add(p, "b", modpipe.Call(one), modpipe.Limit{Name: "db", Max: 2, Cluster: true}) // FAULT limit "db" has two scopes: that at faults_test.go
	},
	"a key of two scopes in one module": func(p *modpipe.Builder) {
		modpipe.Add(p, "a", modpipe.Call(one), modpipe.NotInParallelInCluster("db"), modpipe.NotInParallel("db")) // FAULT a: key "db" has two scopes
	},
	"a key of two scopes in two modules": func(p *modpipe.Builder) {
		modpipe.Add(p, "a", modpipe.Call(one), modpipe.NotInParallelInCluster("db"))
		modpipe.Add(p, "b", modpipe.Call(one), modpipe.NotInParallel("db")) // FAULT b: key "db" has two scopes: a has another one
	},
	"no key of the cluster": func(p *modpipe.Builder) {
		modpipe.Add(p, "a", modpipe.Call(one), modpipe.NotInParallelInCluster()) // FAULT a: NotInParallelInCluster has no key
	},
	"a limit without a size": func(p *modpipe.Builder) {
		modpipe.Add(p, "a", modpipe.Call(one), modpipe.Limit{Name: "db"}) // FAULT a: limit "db" must be from 1
	},
	"an invalid tool": func(p *modpipe.Builder) {
		modpipe.Add(p, "a", modpipe.Call(one), modpipe.Requires{Tools: []string{"go=>1"}}) // FAULT a: tool: "go=>1"
	},
	"invalid memory": func(p *modpipe.Builder) {
		modpipe.Add(p, "a", modpipe.Call(one), modpipe.Requires{Memory: "much"}) // FAULT a: memory: "much"
	},
	"an os of another name": func(p *modpipe.Builder) {
		modpipe.Add(p, "a", modpipe.Call(one), modpipe.Requires{OS: "macos"}) // FAULT a: os: "macos" is called darwin here
	},
	"a negative timeout": func(p *modpipe.Builder) {
		modpipe.Add(p, "a", modpipe.Call(one), modpipe.Timeout(-time.Second)) // FAULT a: the timeout is negative
	},
	"no attempt": func(p *modpipe.Builder) {
		modpipe.Add(p, "a", modpipe.Call(one), modpipe.Retry{Delay: time.Second}) // FAULT a: attempts must be from 1
	},
	"a command of nothing": func(p *modpipe.Builder) {
		modpipe.Add(p, "a", modpipe.Command{}) // FAULT a: a command has Run or Args, exactly one of them
	},
	"a command out of the workspace": func(p *modpipe.Builder) {
		modpipe.Add(p, "a", modpipe.Command{Run: "ls", Dir: "../x"}) // FAULT a: dir:
	},
	"a variable twice": func(p *modpipe.Builder) {
		v := modpipe.Param(p, "v", "", "")
		modpipe.Add(p, "a", modpipe.Command{Run: "ls", Env: map[string]string{"V": "1"}, EnvFrom: map[string]modpipe.Value[string]{"V": v}}) // FAULT a: variable V is in Env and in EnvFrom
	},
	"a variable of ours": func(p *modpipe.Builder) {
		modpipe.Add(p, "a", modpipe.Command{Run: "ls", Env: map[string]string{"MODPIPE_X": "1"}}) // FAULT a: env: MODPIPE_X is modpipe's own
	},
	"a parameter twice": func(p *modpipe.Builder) {
		modpipe.Param(p, "v", "", "")
		modpipe.Param(p, "v", 1, "") // FAULT parameter "v" is there already, at faults_test.go
		modpipe.Add(p, "a", modpipe.Call(one))
	},
	"a parameter without a name": func(p *modpipe.Builder) {
		modpipe.Param(p, "a b", 1, "") // FAULT parameter: "a b" is not a name
		modpipe.Add(p, "a", modpipe.Call(one))
	},
	"a default that is no choice": func(p *modpipe.Builder) {
		modpipe.Param(p, "v", "c", "", modpipe.OneOf("a", "b")) // FAULT parameter v: its default "c" is not one of a, b
		modpipe.Add(p, "a", modpipe.Call(one))
	},
	"a choice of numbers": func(p *modpipe.Builder) {
		modpipe.Param(p, "v", 1, "", modpipe.OneOf("1", "2")) // FAULT parameter v: OneOf is for text
		modpipe.Add(p, "a", modpipe.Call(one))
	},
	"a wrapped command": func(p *modpipe.Builder) {
		modpipe.Add(p, "a", modpipe.Wrap[map[string]string](modpipe.Command{Run: "ls"}, nil)) // FAULT a: Wrap is for Go functions, and this is a command
	},
	"a wrapper that is nil": func(p *modpipe.Builder) {
		modpipe.Add(p, "a", modpipe.Wrap(modpipe.Call(one), nil)) // FAULT a: Wrap has no function
	},
	"a predicate of a command": func(p *modpipe.Builder) {
		modpipe.Add(p, "a", modpipe.Command{Run: "ls"}, modpipe.IgnoreFailureIf(func(error) bool { return true })) // FAULT a: IgnoreFailureIf is for Go functions
	},
	"a reader of what may be ignored": func(p *modpipe.Builder) {
		a := modpipe.Add(p, "a", modpipe.Call(one), modpipe.IgnoreFailureIf(func(error) bool { return true }))
		modpipe.Add(p, "b", modpipe.Call1(func(context.Context, int) (int, error) { return 0, nil }, a)) // FAULT b reads the result of a, which may not be there
	},
	"a shared value of nothing": func(p *modpipe.Builder) {
		list := modpipe.Add(p, "list", modpipe.Call(func(context.Context) ([]string, error) { return nil, nil }))
		modpipe.EachWith(p, "each", list, modpipe.Value[int]{}, func(context.Context, string, int) (int, error) { return 0, nil }) // FAULT each reads a value that no Add has returned
	},
	"a definition that panics": func(p *modpipe.Builder) {
		none := files["none"]
		none.Mode = 1 // FAULT the definition panics: runtime error: invalid memory address
	},
	"a definition that follows chance": func(p *modpipe.Builder) {
		calls++
		modpipe.Add(p, "n"+itoa(calls), modpipe.Call(one)) // FAULT the definition makes another graph when it runs again
	},
}

var calls int

var files = fstest.MapFS{"ci.yaml": {Data: []byte("name: ci\nmodules:\n  build: {run: make, outputs: [v]}\n")}}

func TestMistakesAreFoundWhenBuilt(t *testing.T) {
	if _, err := modpipe.Build("other", func(p *modpipe.Builder) { kept = modpipe.Add(p, "checkout", modpipe.Call(checkout)) }); err != nil {
		t.Fatal(err)
	}
	marks := faultMarks(t)
	for name, define := range mistakes {
		t.Run(name, func(t *testing.T) {
			_, err := modpipe.Build("test", define)
			var faults pipeline.Faults
			if !errors.As(err, &faults) {
				t.Fatalf("no faults: %v", err)
			}
			f := faults[0]
			want, marked := marks[f.Line]
			if f.File != "faults_test.go" || !marked || !strings.Contains(f.String(), want) {
				t.Errorf("no fault is wanted there, or another one:\n%v", err)
			}
			if !strings.Contains(f.Excerpt, "// FAULT "+want) {
				t.Errorf("without its line:\n%v", err)
			}
			delete(marks, f.Line)
		})
	}
	for line, want := range marks {
		t.Errorf("faults_test.go:%d: %q was not reported", line, want)
	}
}

// faultMarks are the lines of this file that say FAULT.
func faultMarks(t *testing.T) map[int]string {
	t.Helper()
	src, err := os.ReadFile("faults_test.go")
	if err != nil {
		t.Fatal(err)
	}
	marks := map[int]string{}
	mark := regexp.MustCompile(`\) // FAULT (.*)$| = 1 // FAULT (.*)$`)
	for i, line := range strings.Split(string(src), "\n") {
		if m := mark.FindStringSubmatch(line); m != nil && !strings.Contains(line, "MustCompile") {
			marks[i+1] = m[1] + m[2]
		}
	}
	return marks
}

func TestFaultsComeAllAtOnce(t *testing.T) {
	_, err := modpipe.Build("test", func(p *modpipe.Builder) {
		modpipe.Add(p, "a b", modpipe.Call(one), modpipe.Timeout(-1))
		modpipe.Add(p, "c", modpipe.Call(one), modpipe.Requires{OS: "mac", Arch: "x64"})
		modpipe.Add(p, "d", modpipe.Command{})
	})
	var faults pipeline.Faults
	if errors.As(err, &faults); len(faults) != 5 {
		t.Errorf("%d faults:\n%v", len(faults), err)
	}
}

func TestNoDefinition(t *testing.T) {
	for name, define := range map[string]func(*modpipe.Builder){"there is no definition": nil, "the pipeline has no module": func(*modpipe.Builder) {}} {
		if _, err := modpipe.Build("test", define); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v", err)
		}
	}
}

func TestOptionalReadersAreNoFault(t *testing.T) {
	_, err := modpipe.Build("test", func(p *modpipe.Builder) {
		co := modpipe.Add(p, "checkout", modpipe.Call(checkout))
		v := modpipe.Add(p, "version", modpipe.Call1(version, co), modpipe.IgnoreFailure())
		modpipe.Add(p, "maybe", modpipe.Call1(maybe, modpipe.Optional(v)), modpipe.AlwaysRun())
	})
	if err != nil {
		t.Error(err)
	}
}

// TestMistakesAreReportedTogether: one mistake does not hide another, nor a
// mistake that only the whole graph shows.
func TestMistakesAreReportedTogether(t *testing.T) {
	_, err := modpipe.Build("test", func(p *modpipe.Builder) {
		modpipe.Add(p, "hidden", modpipe.Call(func(context.Context) (hidden, error) { return hidden{}, nil }))
		modpipe.Add(p, "version", modpipe.Call1(version, modpipe.Value[tree]{}))
		modpipe.Add(p, "checkout", modpipe.Call(checkout))
		modpipe.Add(p, "Checkout", modpipe.Call(checkout))
		modpipe.Add(p, "check out", modpipe.Call(checkout))
		modpipe.Add(p, "late", modpipe.Call(checkout), modpipe.Timeout(-1))
	})
	var faults pipeline.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("no faults: %v", err)
	}
	wants := []string{
		"its result cannot travel", "version reads a value that no Add has returned", `module "Checkout" is there already, at faults_test.go`,
		`"check out" is not a name`, "the timeout is negative",
	}
	if len(faults) != len(wants) {
		t.Errorf("%d faults, not %d", len(faults), len(wants))
	}
	for _, want := range wants {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("without %q:\n%v", want, err)
		}
	}
}

// The fields of a Builder are for all modules, wherever they are set; a module
// may have its own grace.
func TestGraceIsForAllModules(t *testing.T) {
	p, err := modpipe.Build("test", func(p *modpipe.Builder) {
		modpipe.Add(p, "a", modpipe.Call(one))
		modpipe.Add(p, "b", modpipe.Call(one), modpipe.Info{Grace: time.Minute})
		p.Grace = time.Second
	})
	if err != nil {
		t.Fatal(err)
	}
	g, err := p.Pipeline(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := g.Modules[0].Policy.Grace, g.Modules[1].Policy.Grace; a != time.Second || b != time.Minute {
		t.Errorf("a has %v, b has %v", a, b)
	}
	_, err = modpipe.Build("test", func(p *modpipe.Builder) {
		p.Grace, p.Deadline = -1, -1
		modpipe.Add(p, "a", modpipe.Call(one))
	})
	if want := "the Deadline of the Builder is negative\nthe Grace of the Builder is negative"; err == nil || err.Error() != want {
		t.Errorf("said %v", err)
	}
}
