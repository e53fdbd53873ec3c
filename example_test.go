package modpipe_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing/fstest"
	"time"

	"github.com/modpipe/modpipe"
	"github.com/modpipe/modpipe/modpipetest"
)

// Functions of modules are ordinary functions.

type Source struct{ Branch string }

func (s Source) OnMain() bool { return s.Branch == "main" }

func fetch(context.Context) (Source, error)                { return Source{"topic"}, nil }
func count(_ context.Context, s Source) (int, error)       { return len(s.Branch), nil }
func greet(_ context.Context, name string) (string, error) { return "hello " + name, nil }
func sum(_ context.Context, numbers []int) (n int, err error) {
	for _, k := range numbers {
		n += k
	}
	return n, nil
}

func fail(context.Context) (int, error) { return 0, errors.New("the disk is full") }

// A pipeline of two modules: the second reads what the first has returned.
func Example() {
	run(func(p *modpipe.Builder) {
		src := modpipe.Add(p, "fetch", modpipe.Call(fetch))
		modpipe.Add(p, "count", modpipe.Call1(count, src))
	})
	// Output:
	// fetch: succeeded {"Branch":"topic"}
	// count: succeeded 5
}

func ExampleAdd() {
	graph(func(p *modpipe.Builder) {
		src := modpipe.Add(p, "fetch", modpipe.Call(fetch))
		for _, os := range []string{"linux", "darwin"} {
			modpipe.Add(p, fmt.Sprintf("test (os=%s)", os), modpipe.Call1(count, src), modpipe.Requires{OS: os})
		}
	})
	// Output:
	// fetch <-
	// test (os=linux) <- fetch
	// test (os=darwin) <- fetch
}

func ExampleBuild() {
	_, err := modpipe.Build("release", func(p *modpipe.Builder) {
		src := modpipe.Add(p, "fetch", modpipe.Call(fetch), modpipe.IgnoreFailure())
		modpipe.Add(p, "count", modpipe.Call1(count, src))
	})
	fmt.Println(err)
	// Output:
	// example_test.go:61: count reads the result of fetch, which may not be there: a failure of fetch is ignored; read it by modpipe.Optional
	//     modpipe.Add(p, "count", modpipe.Call1(count, src))
}

func ExampleBuilder() {
	run(func(p *modpipe.Builder) {
		p.Deadline, p.FailSlow = time.Hour, true
		p.Defaults = []modpipe.Option{modpipe.Timeout(time.Minute)}
		modpipe.Add(p, "fail", modpipe.Call(fail))
		modpipe.Add(p, "fetch", modpipe.Call(fetch)) // runs to its end: FailSlow
	})
	// Output:
	// fail: failed the disk is full
	// fetch: succeeded {"Branch":"topic"}
}

func ExampleBuilder_Added() {
	graph(func(p *modpipe.Builder) {
		modpipe.Add(p, "fetch", modpipe.Call(fetch))
		modpipe.Add(p, "last", modpipe.Call(fail), modpipe.After(p.Added()...))
	})
	// Output:
	// fetch <-
	// last <- fetch
}

func ExampleBuilder_Include() {
	files := fstest.MapFS{"ci.yaml": {Data: []byte(`
name: ci
modules:
  build: {run: make, outputs: [version]}
  tell:
    needs: [fetch]
    command: [echo, "${{ needs.fetch.result.Branch }}"]
`)}} // in a program: //go:embed ci.yaml
	graph(func(p *modpipe.Builder) {
		modpipe.Add(p, "fetch", modpipe.Call(fetch))
		p.Include(files, "ci.yaml")
	})
	// Output:
	// fetch <-
	// build <-
	// tell <- fetch
}

func ExampleBuilder_Outputs() {
	files := fstest.MapFS{"ci.yaml": {Data: []byte("{name: ci, modules: {build: {run: make, outputs: [version]}}}")}}
	run(func(p *modpipe.Builder) {
		p.Include(files, "ci.yaml")
		version := modpipe.Map(p.Outputs("build"), func(o map[string]string) string { return o["version"] })
		modpipe.Add(p, "greet", modpipe.Call1(greet, version))
	}, modpipetest.Stub("build", map[string]string{"version": "1.2"}))
	// Output:
	// build: succeeded
	// greet: succeeded "hello 1.2"
}

func ExampleFunction() {
	type request struct {
		Name  string
		Times int
	}
	files := fstest.MapFS{"ci.yaml": {Data: []byte(`
name: ci
modules:
  hail: {uses: "go:greet", with: {name: world, times: 2}}
`)}}
	run(func(p *modpipe.Builder) {
		modpipe.Function(p, "greet", func(_ context.Context, r request) (string, error) {
			return strings.Repeat("hello "+r.Name+" ", r.Times), nil
		})
		p.Include(files, "ci.yaml")
	})
	// Output: hail: succeeded "hello world hello world "
}

func ExampleCall() {
	run(func(p *modpipe.Builder) { modpipe.Add(p, "fetch", modpipe.Call(fetch)) })
	// Output: fetch: succeeded {"Branch":"topic"}
}

func ExampleCall1() {
	run(func(p *modpipe.Builder) {
		name := modpipe.Param(p, "name", "world", "whom to greet")
		modpipe.Add(p, "greet", modpipe.Call1(greet, name))
	})
	// Output: greet: succeeded "hello world"
}

func ExampleCall2() {
	add := func(_ context.Context, a, b int) (int, error) { return a + b, nil }
	run(func(p *modpipe.Builder) {
		modpipe.Add(p, "add", modpipe.Call2(add, modpipe.Param(p, "a", 1, ""), modpipe.Param(p, "b", 2, "")))
	})
	// Output: add: succeeded 3
}

func ExampleCall3() {
	clamp := func(_ context.Context, n, least, most int) (int, error) { return min(max(n, least), most), nil }
	run(func(p *modpipe.Builder) {
		n, least, most := modpipe.Param(p, "n", 12, ""), modpipe.Param(p, "least", 0, ""), modpipe.Param(p, "most", 9, "")
		modpipe.Add(p, "clamp", modpipe.Call3(clamp, n, least, most))
	})
	// Output: clamp: succeeded 9
}

func ExampleCall4() {
	join := func(_ context.Context, a, b, c, d string) (string, error) { return a + b + c + d, nil }
	run(func(p *modpipe.Builder) {
		s := modpipe.Param(p, "s", "x", "")
		modpipe.Add(p, "join", modpipe.Call4(join, s, s, s, s))
	})
	// Output: join: succeeded "xxxx"
}

func ExampleCommand() {
	graph(func(p *modpipe.Builder) {
		src := modpipe.Add(p, "fetch", modpipe.Call(fetch))
		built := modpipe.Add(p, "build", modpipe.Command{
			Run:     `make BRANCH="$BRANCH" && echo "version=1.2" >> "$MODPIPE_OUTPUT"`,
			EnvFrom: map[string]modpipe.Value[string]{"BRANCH": modpipe.Map(src, func(s Source) string { return s.Branch })},
		}, modpipe.Requires{Tools: []string{"make"}})
		modpipe.Add(p, "greet", modpipe.Call1(greet, modpipe.Map(built, func(o map[string]string) string { return o["version"] })))
	})
	// Output:
	// fetch <-
	// build <- fetch
	// greet <- build
}

func ExampleParam() {
	run(func(p *modpipe.Builder) {
		wait := modpipe.Param(p, "wait", time.Minute, "how long to wait")
		modpipe.Add(p, "greet", modpipe.Call1(greet, modpipe.Map(wait, time.Duration.String)))
	}, modpipetest.Param("wait", "90s")) // --param wait=90s
	// Output: greet: succeeded "hello 1m30s"
}

func ExampleAll() {
	run(func(p *modpipe.Builder) {
		a := modpipe.Add(p, "a", modpipe.Call1(count, modpipe.Add(p, "fetch", modpipe.Call(fetch))))
		modpipe.Add(p, "sum", modpipe.Call1(sum, modpipe.All(a, modpipe.Param(p, "n", 10, ""))))
	})
	// Output:
	// fetch: succeeded {"Branch":"topic"}
	// a: succeeded 5
	// sum: succeeded 15
}

func ExampleMap() {
	run(func(p *modpipe.Builder) {
		src := modpipe.Add(p, "fetch", modpipe.Call(fetch))
		modpipe.Add(p, "greet", modpipe.Call1(greet, modpipe.Map(src, func(s Source) string { return s.Branch })))
	})
	// Output:
	// fetch: succeeded {"Branch":"topic"}
	// greet: succeeded "hello topic"
}

func ExampleOptional() {
	orNone := func(_ context.Context, n *int) (string, error) {
		if n == nil {
			return "none", nil
		}
		return fmt.Sprint(*n), nil
	}
	run(func(p *modpipe.Builder) {
		n := modpipe.Add(p, "fail", modpipe.Call(fail), modpipe.IgnoreFailure())
		modpipe.Add(p, "show", modpipe.Call1(orNone, modpipe.Optional(n)))
	})
	// Output:
	// fail: ignored_failure the disk is full
	// show: succeeded "none"
}

func ExampleOutcomes() {
	tell := func(_ context.Context, outcomes []modpipe.Outcome) (string, error) {
		return fmt.Sprint(outcomes), nil
	}
	run(func(p *modpipe.Builder) {
		modpipe.Add(p, "fail", modpipe.Call(fail))
		modpipe.Add(p, "notify", modpipe.Call1(tell, modpipe.Outcomes(p.Added()...)), modpipe.AlwaysRun())
	})
	// Output:
	// fail: failed the disk is full
	// notify: succeeded "[fail: failed: the disk is full]"
}

func ExampleEach() {
	list := func(context.Context) ([]string, error) { return []string{"orders", "users"}, nil }
	length := func(_ context.Context, s string) (int, error) { return len(s), nil }
	run(func(p *modpipe.Builder) {
		tables := modpipe.Add(p, "tables", modpipe.Call(list))
		lengths := modpipe.Each(p, "length", tables, length, modpipe.Limit{Name: "database", Max: 4})
		modpipe.Add(p, "sum", modpipe.Call1(sum, lengths))
	})
	// Output:
	// tables: succeeded ["orders","users"]
	// length (item=orders): succeeded 6
	// length (item=users): succeeded 5
	// sum: succeeded 11
}

// Each of what other members returned, with a value that all of them share.
func ExampleEachWith() {
	list := func(context.Context) ([]string, error) { return []string{"a.txt", "bc.txt"}, nil }
	length := func(_ context.Context, s string) (int, error) { return len(s), nil }
	scale := func(_ context.Context, n int, by int) (int, error) { return n * by, nil }
	run(func(p *modpipe.Builder) {
		by := modpipe.Param(p, "by", 10, "factor")
		files := modpipe.Add(p, "files", modpipe.Call(list))
		lengths := modpipe.Each(p, "length", files, length)
		modpipe.EachWith(p, "scaled", lengths, by, scale)
	})
	// Output:
	// files: succeeded ["a.txt","bc.txt"]
	// length (item=a.txt): succeeded 5
	// length (item=bc.txt): succeeded 6
	// scaled-list: succeeded [5,6]
	// scaled (item=5): succeeded 50
	// scaled (item=6): succeeded 60
}

func ExampleMap2() {
	run(func(p *modpipe.Builder) {
		src := modpipe.Add(p, "fetch", modpipe.Call(fetch))
		to := modpipe.Param(p, "to", "world", "whom to greet")
		both := modpipe.Map2(src, to, func(s Source, to string) string { return to + " from " + s.Branch })
		modpipe.Add(p, "greet", modpipe.Call1(greet, both))
	})
	// Output:
	// fetch: succeeded {"Branch":"topic"}
	// greet: succeeded "hello world from topic"
}

// A wrapper that many modules share.
func ExampleWrap() {
	logged := func(ctx context.Context, next func(context.Context) (Source, error)) (Source, error) {
		s, err := next(ctx)
		s.Branch += ", seen"
		return s, err
	}
	run(func(p *modpipe.Builder) { modpipe.Add(p, "fetch", modpipe.Wrap(modpipe.Call(fetch), logged)) })
	// Output: fetch: succeeded {"Branch":"topic, seen"}
}

func ExampleOneOf() {
	_, err := modpipe.Build("greet", func(p *modpipe.Builder) {
		channel := modpipe.Param(p, "channel", "test", "release channel", modpipe.OneOf("dev", "prod"), modpipe.FromEnv("CHANNEL"))
		modpipe.Add(p, "greet", modpipe.Call1(greet, channel))
	})
	fmt.Println(strings.Split(err.Error(), "\n")[0][len("example_test.go:"):][4:])
	// Output: parameter channel: its default "test" is not one of dev, prod
}

func ExampleRequired() {
	run(func(p *modpipe.Builder) {
		to := modpipe.Param(p, "to", "", "whom to greet", modpipe.Required())
		modpipe.Add(p, "greet", modpipe.Call1(greet, to))
	}, modpipetest.Param("to", "you")) // without it: parameter to is required and has no value
	// Output: greet: succeeded "hello you"
}

func ExampleFromEnv() {
	program, _ := modpipe.Build("greet", func(p *modpipe.Builder) {
		to := modpipe.Param(p, "to", "world", "whom to greet", modpipe.FromEnv("WHOM"))
		modpipe.Add(p, "greet", modpipe.Call1(greet, to))
	})
	env := func(name string) (string, bool) { return "the house", name == "WHOM" }
	graph, _ := program.Pipeline(nil, env)
	fmt.Println(graph.Params["to"])
	// Output: the house
}

func ExampleParamOption() {
	audience := []modpipe.ParamOption{modpipe.OneOf("you", "world"), modpipe.FromEnv("WHOM")}
	run(func(p *modpipe.Builder) {
		modpipe.Add(p, "greet", modpipe.Call1(greet, modpipe.Param(p, "to", "world", "whom to greet", audience...)))
	})
	// Output: greet: succeeded "hello world"
}

func ExampleIf() {
	run(func(p *modpipe.Builder) {
		src := modpipe.Add(p, "fetch", modpipe.Call(fetch))
		modpipe.Add(p, "publish", modpipe.Call1(count, src), modpipe.If(modpipe.Map(src, Source.OnMain), "only main is published"))
	})
	// Output:
	// fetch: succeeded {"Branch":"topic"}
	// publish: skipped only main is published
}

func ExampleAfter() {
	graph(func(p *modpipe.Builder) {
		src := modpipe.Add(p, "fetch", modpipe.Call(fetch))
		lint := modpipe.Add(p, "lint", modpipe.Call1(count, src))
		modpipe.Add(p, "publish", modpipe.Call(fetch), modpipe.After(src, modpipe.Optional(lint)))
	})
	// Output:
	// fetch <-
	// lint <- fetch
	// publish <- fetch, lint?
}

func ExampleAlwaysRun() {
	run(func(p *modpipe.Builder) {
		n := modpipe.Add(p, "fail", modpipe.Call(fail))
		modpipe.Add(p, "cleanup", modpipe.Call(fetch), modpipe.AlwaysRun(), modpipe.After(n))
	})
	// Output:
	// fail: failed the disk is full
	// cleanup: succeeded {"Branch":"topic"}
}

func ExampleIgnoreFailure() {
	run(func(p *modpipe.Builder) { modpipe.Add(p, "lint", modpipe.Call(fail), modpipe.IgnoreFailure()) })
	// Output: lint: ignored_failure the disk is full
}

func ExampleIgnoreFailureIf() {
	full := func(err error) bool { return strings.Contains(err.Error(), "full") }
	run(func(p *modpipe.Builder) {
		modpipe.Add(p, "cache", modpipe.Call(fail), modpipe.IgnoreFailureIf(full))
		modpipe.Add(p, "store", modpipe.Call(fail), modpipe.IgnoreFailureIf(func(err error) bool { return !full(err) }))
	})
	// Output:
	// cache: ignored_failure the disk is full
	// store: failed the disk is full
}

func ExampleTimeout() {
	wait := func(ctx context.Context) (int, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	run(func(p *modpipe.Builder) {
		modpipe.Add(p, "wait", modpipe.Call(wait), modpipe.Timeout(5*time.Millisecond))
	})
	// Output: wait: timed_out timed out after 5ms
}

func ExampleNotInParallel() {
	run(func(p *modpipe.Builder) {
		for _, env := range []string{"staging", "production"} {
			modpipe.Add(p, fmt.Sprintf("deploy (env=%s)", env), modpipe.Call(fetch), modpipe.NotInParallel("cluster"))
		}
	})
	// Output:
	// deploy (env=staging): succeeded {"Branch":"topic"}
	// deploy (env=production): succeeded {"Branch":"topic"}
}

// No other run on the same NATS migrates at the same time, of any
// pipeline. The fencing token exposes a machine that was paused in between.
func ExampleNotInParallelInCluster() {
	migrate := func(ctx context.Context) (string, error) {
		if modpipe.AttemptOf(ctx).FencingToken == 0 {
			return "", errors.New("it holds no key")
		}
		return "migrated", nil
	}
	run(func(p *modpipe.Builder) {
		modpipe.Add(p, "migrate", modpipe.Call(migrate), modpipe.NotInParallelInCluster("database"))
	})
	// Output: migrate: succeeded "migrated"
}

func ExampleRetry() {
	flaky := func(ctx context.Context) (int, error) {
		n := modpipe.AttemptOf(ctx).Number
		if n < 3 {
			return 0, errors.New("busy")
		}
		return n, nil
	}
	run(func(p *modpipe.Builder) {
		modpipe.Add(p, "flaky", modpipe.Call(flaky), modpipe.Retry{Attempts: 5, Delay: time.Second, MaxDelay: time.Minute})
	})
	// Output: flaky: succeeded 3
}

func ExampleRequires() {
	run(func(p *modpipe.Builder) {
		modpipe.Add(p, "build", modpipe.Call(fetch), modpipe.Requires{
			OS: "linux", Tools: []string{"go>=1.26", "git"}, Memory: "4Gi", Labels: map[string]string{"zone": "eu"}, Slots: 2,
		})
	})
	// Output: build: succeeded {"Branch":"topic"}
}

func ExampleLimit() {
	run(func(p *modpipe.Builder) {
		for i := range 3 {
			modpipe.Add(p, fmt.Sprintf("query (shard=%d)", i), modpipe.Call(fetch), modpipe.Limit{Name: "connections", Max: 2})
		}
	})
	// Output:
	// query (shard=0): succeeded {"Branch":"topic"}
	// query (shard=1): succeeded {"Branch":"topic"}
	// query (shard=2): succeeded {"Branch":"topic"}
}

func ExampleInfo() {
	run(func(p *modpipe.Builder) {
		modpipe.Add(p, "test", modpipe.Call(fetch), modpipe.Info{Description: "all unit tests", Category: "test", Priority: modpipe.High})
	})
	// Output: test: succeeded {"Branch":"topic"}
}

func ExamplePermanent() {
	f := func(context.Context) (int, error) { return 0, modpipe.Permanent(errors.New("no such branch")) }
	run(func(p *modpipe.Builder) { modpipe.Add(p, "fetch", modpipe.Call(f), modpipe.Retry{Attempts: 5}) })
	// Output: fetch: failed no such branch
}

func ExampleRetryAfter() {
	f := func(ctx context.Context) (string, error) {
		if modpipe.AttemptOf(ctx).Number == 1 {
			return "", modpipe.RetryAfter(time.Hour, errors.New("too many requests"))
		}
		return "an hour later", nil
	}
	run(func(p *modpipe.Builder) { modpipe.Add(p, "ask", modpipe.Call(f), modpipe.Retry{Attempts: 2}) })
	// Output: ask: succeeded "an hour later"
}

func ExampleSkip() {
	f := func(context.Context) (int, error) { return 0, modpipe.Skip("nothing has changed") }
	run(func(p *modpipe.Builder) { modpipe.Add(p, "build", modpipe.Call(f)) })
	// Output: build: skipped nothing has changed
}

func ExampleLogger() {
	f := func(ctx context.Context) (struct{}, error) {
		modpipe.Logger(ctx).Info("compiling", "package", "./...")
		return struct{}{}, nil
	}
	p := modpipetest.New(printer{}, func(p *modpipe.Builder) { modpipe.Add(p, "build", modpipe.Call(f)) })
	p.Run()
	fmt.Print(p.Log("build"))
	// Output: compiling package=./...
}

// A module that declares the secret reads it by its context.
func ExampleSecret() {
	publish := func(ctx context.Context) (int, error) {
		token, err := modpipe.Secret(ctx, "NPM_TOKEN")
		return len(token), err
	}
	_, err := publish(context.Background())
	fmt.Println(err)
	// Output: secret "NPM_TOKEN": this context is not that of an attempt
}

// The run does not begin without the secret; a test gives it.
func ExampleSecrets() {
	publish := func(ctx context.Context) (int, error) {
		token, err := modpipe.Secret(ctx, "NPM_TOKEN")
		return len(token), err
	}
	run(func(p *modpipe.Builder) {
		modpipe.Add(p, "publish", modpipe.Call(publish), modpipe.Secrets("NPM_TOKEN"))
	}, modpipetest.Secret("NPM_TOKEN", "npm_a1b2c3d4"))
	// Output: publish: succeeded 12
}

// Only workers that have the password themselves run the module.
func ExampleSecretTerms() {
	graph(func(p *modpipe.Builder) {
		modpipe.Add(p, "migrate", modpipe.Command{Run: `migrate --password-file "$DB_PASSWORD"`},
			modpipe.SecretTerms{Name: "db", Env: "DB_PASSWORD", File: true, FromWorker: true})
	})
	// Output: migrate <-
}

func ExampleAttemptOf() {
	f := func(ctx context.Context) (string, error) {
		a := modpipe.AttemptOf(ctx)
		return fmt.Sprintf("attempt %d of %s, fenced: %v", a.Number, a.Module, a.FencingToken > 0), nil
	}
	run(func(p *modpipe.Builder) {
		modpipe.Add(p, "deploy", modpipe.Call(f), modpipe.NotInParallel("production"))
	})
	// Output: deploy: succeeded "attempt 1 of deploy, fenced: true"
}

func ExampleProgram() {
	program, err := modpipe.Build("release", func(p *modpipe.Builder) {
		modpipe.Param(p, "channel", "dev", "release channel")
		modpipe.Add(p, "fetch", modpipe.Call(fetch))
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, param := range program.Params() {
		fmt.Println(param.Name, param.Type, param.Default)
	}
	fmt.Println(program.ResultType("fetch"))
	// Output:
	// channel string dev
	// modpipe_test.Source
}

func ExampleProgram_Pipeline() {
	program, err := modpipe.Build("release", func(p *modpipe.Builder) {
		branch := modpipe.Param(p, "branch", "main", "what is fetched")
		modpipe.Add(p, "fetch", modpipe.Call1(func(_ context.Context, branch string) (Source, error) {
			return Source{Branch: branch}, nil
		}, branch))
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	graph, err := program.Pipeline(map[string]string{"branch": "topic"}, os.LookupEnv)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range graph.Modules {
		fmt.Println(m.Name, graph.Params["branch"])
	}
	// Output: fetch topic
}

func ExamplePriority() {
	run(func(p *modpipe.Builder) {
		modpipe.Add(p, "fetch", modpipe.Call(fetch), modpipe.Info{Priority: modpipe.Critical})
	})
	// Output: fetch: succeeded {"Branch":"topic"}
}

func ExamplePriority_levels() {
	run(func(p *modpipe.Builder) {
		modpipe.Add(p, "tidy", modpipe.Call(fetch), modpipe.Info{Priority: modpipe.Low})
		modpipe.Add(p, "build", modpipe.Call(fetch), modpipe.Info{Priority: modpipe.Normal}) // as without it
	})
	// Output:
	// tidy: succeeded {"Branch":"topic"}
	// build: succeeded {"Branch":"topic"}
}

func ExampleProgram_Name() {
	program, err := modpipe.Build("release", func(p *modpipe.Builder) {
		p.Name = "release of the tools" // the pipeline's: the program keeps its own
		modpipe.Add(p, "fetch", modpipe.Call(fetch))
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(program.Name())
	// Output: release
}

// What a module does may follow from data: both ways to count are Executors
// of the same result.
func ExampleExecutor() {
	how := func(s modpipe.Value[Source], quick bool) modpipe.Executor[int] {
		if quick {
			return modpipe.Call(func(context.Context) (int, error) { return 0, nil })
		}
		return modpipe.Call1(count, s)
	}
	run(func(p *modpipe.Builder) {
		src := modpipe.Add(p, "fetch", modpipe.Call(fetch))
		modpipe.Add(p, "count", how(src, false))
	})
	// Output:
	// fetch: succeeded {"Branch":"topic"}
	// count: succeeded 5
}

// Values of different types are Needs alike.
func ExampleNeed() {
	graph(func(p *modpipe.Builder) {
		var checks []modpipe.Need
		src := modpipe.Add(p, "fetch", modpipe.Call(fetch))
		checks = append(checks, src, modpipe.Add(p, "count", modpipe.Call1(count, src)))
		modpipe.Add(p, "greet", modpipe.Call1(greet, modpipe.Param(p, "whom", "you", "")), modpipe.After(checks...))
	})
	// Output:
	// fetch <-
	// count <- fetch
	// greet <- fetch, count
}

func ExampleOutcome_Succeeded() {
	bad := func(_ context.Context, outcomes []modpipe.Outcome) (n int, _ error) {
		for _, o := range outcomes {
			if !o.Succeeded() {
				n++
			}
		}
		return n, nil
	}
	run(func(p *modpipe.Builder) {
		modpipe.Add(p, "fail", modpipe.Call(fail))
		modpipe.Add(p, "count", modpipe.Call1(bad, modpipe.Outcomes(p.Added()...)), modpipe.AlwaysRun())
	})
	// Output:
	// fail: failed the disk is full
	// count: succeeded 1
}

func ExampleAttempt() {
	temporary := func(a modpipe.Attempt) string { return fmt.Sprintf("%s-%d.tmp", a.Module, a.Number) }
	run(func(p *modpipe.Builder) {
		modpipe.Add(p, "export", modpipe.Call(func(ctx context.Context) (string, error) {
			return temporary(modpipe.AttemptOf(ctx)), nil
		}))
	})
	// Output: export: succeeded "export-1.tmp"
}
