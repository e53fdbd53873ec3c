package cli

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/modpipe/modpipe"
	"github.com/modpipe/modpipe/internal/call"
	"github.com/modpipe/modpipe/internal/exec/function"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/pipeline"
)

// Main is the main function of a program that has its own pipeline: its
// orchestrator and its workers in one binary. It has the orchestrator's
// commands, without FILE, and worker. It does not return.
func Main(name string, define func(*modpipe.Builder)) {
	build := func() (call.Program, error) {
		p, err := modpipe.Build(name, define)
		if err != nil {
			return nil, err
		}
		return p.Functions(), nil
	}
	switch asked, err := function.Answer(os.Args[1:], build); {
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exit.Infrastructure)
	case asked:
		os.Exit(exit.OK)
	}
	os.Exit(Program(context.Background(), name, define, System())) //nolint:forbidigo // it is a main
}

// Program runs the command line of a program with its own pipeline and
// returns its exit code.
func Program(ctx context.Context, name string, define func(*modpipe.Builder), p Process) int {
	a := newProgramApp(name, define, p)
	return a.execute(ctx, programRoot(a, &runOptions{})) //nolint:contextcheck // commands take theirs from cobra
}

// program is the pipeline of a user's own program.
type program struct {
	name     string
	build    func() (*modpipe.Program, error) // once
	isolated bool                             // --isolated: each Go attempt in its own process
}

func newProgramApp(name string, define func(*modpipe.Builder), p Process) *app {
	a := newApp("orchestrator", p)
	a.binary = name
	a.own = &program{name: name, build: sync.OnceValues(func() (*modpipe.Program, error) {
		built, err := modpipe.Build(name, define)
		if err != nil {
			return nil, faultsError(err)
		}
		return built, nil
	})}
	return a
}

func programRoot(a *app, o *runOptions) *cobra.Command {
	root := a.root("Run the pipeline " + a.own.name + ", or its modules for others")
	root.Long = root.Short + ".\n\nWithout a NATS server configured, everything runs inside this process."
	run := withoutFile(a, runCommand(a, o))
	root.AddCommand(
		run, resumeCommand(a), serveCommand(a), devCommand(a), withoutFile(a, planCommand(a)), withoutFile(a, validateCommand(a)), withoutFile(a, graphCommand(a)),
		runsCommand(a), workersCommand(a), cacheCommand(a), withoutFile(a, doctorCommand(a)), ownWorkerCommand(a), versionCommand(a),
	)
	return root
}

// withoutFile turns a command about a file into one about the program's own pipeline.
func withoutFile(a *app, cmd *cobra.Command) *cobra.Command {
	name, _, _ := strings.Cut(cmd.Use, " ")
	cmd.Use = name
	cmd.Short = strings.NewReplacer("a pipeline", "the pipeline", "pipeline files", "the pipeline").Replace(cmd.Short)
	cmd.Long = strings.NewReplacer("Run a pipeline", "Run the pipeline", "pipeline files", "the pipeline").Replace(cmd.Long)
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	inner := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return exit.Usagef("unexpected argument %q: the pipeline is %s itself", args[0], a.own.name)
		}
		return inner(cmd, []string{a.own.name})
	}
	return cmd
}

func isolatedFlag(a *app, cmd *cobra.Command) {
	settings.SwitchFlag(cmd.Flags(), &a.own.isolated, "isolated", "", "run each attempt of a Go module in its own process: this reveals what modules share in memory, which they cannot on several machines")
}

// ownWorkerCommand is the worker of the program.
func ownWorkerCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "worker"}
	makeWorker(a, cmd, &workerOptions{})
	isolatedFlag(a, cmd)
	inner := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		a.bind.Prefix = "MODPIPE_WORKER_"
		if f := cmd.Flags().Lookup("connect-timeout"); !f.Changed && a.bind.Env[a.bind.Variable("connect-timeout")] == "" {
			a.set.ConnectTimeout = 0 // a worker retries without end
		}
		if _, err := a.own.build(); err != nil {
			return err
		}
		return inner(cmd, args)
	}
	cmd.AddCommand(capabilitiesCommand(a))
	return cmd
}

// functions are the program's Go functions; nil when there is no program.
func functions(a *app) (call.Program, error) {
	if a.own == nil {
		return nil, nil
	}
	p, err := a.own.build()
	if err != nil {
		return nil, err
	}
	if a.own.isolated {
		return function.Isolated(p.Functions()), nil
	}
	return p.Functions(), nil
}

// graph is the program's pipeline with parameters.
func (p *program) graph(params map[string]string, lookup func(string) (string, bool)) (*pipeline.Pipeline, error) {
	built, err := p.build()
	if err != nil {
		return nil, err
	}
	g, err := built.Pipeline(params, lookup)
	if err != nil {
		return nil, faultsError(err)
	}
	return g, nil
}

// params are the parameters of a validation: stand-ins where a run would need one.
func (p *program) params(given map[string]string) map[string]string {
	built, err := p.build()
	if err != nil {
		return given
	}
	params := maps.Clone(given)
	if params == nil {
		params = map[string]string{}
	}
	for _, param := range built.Params() {
		if _, ok := params[param.Name]; !ok && param.Required && param.Default == nil {
			params[param.Name] = param.StandIn()
		}
	}
	return params
}
