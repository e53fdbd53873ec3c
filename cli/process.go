package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/modpipe/modpipe/internal/access"
	"github.com/modpipe/modpipe/internal/connect"
	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/orphans"
	"github.com/modpipe/modpipe/internal/progress"
	"github.com/modpipe/modpipe/internal/protect"
	"github.com/modpipe/modpipe/internal/safetext"
	"github.com/modpipe/modpipe/internal/settings"
)

// Process is the environment of a program: its arguments, streams and signals.
type Process struct {
	Args    []string         // without the program's name
	Env     []string         // KEY=value
	Dir     string           // working directory; "" = the process's
	Stdin   io.Reader        // nil = empty
	Stdout  io.Writer        // required
	Stderr  io.Writer        // required; written to by one goroutine at a time
	Signals <-chan os.Signal // INT, TERM and HUP; nil = none ever
	Exit    func(code int)   // ends the process immediately, at the third signal; nil = does nothing
	Outlive func()           // lets the process outlive the readers of its output; nil = does nothing
}

// System is the process that runs this code. It receives INT, TERM and, unless the
// process was started to ignore it, HUP.
func System() Process {
	protect.Process()
	signals := make(chan os.Signal, 16) // three signals mean something, and each may have an echo or a few
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	return Process{
		Args: os.Args[1:], Env: os.Environ(),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Signals: signals, Exit: os.Exit, Outlive: outlive,
	}
}

// outlive handles SIGPIPE, so that a write without a reader is an error and
// not the end. What the process starts gets its own PIPE all the same, which
// it would not if that were ignored here.
func outlive() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// Orchestrator runs the orchestrator's command line and returns its exit code.
func Orchestrator(ctx context.Context, p Process) int {
	a := newApp("orchestrator", p)
	return a.execute(ctx, orchestratorRoot(a)) //nolint:contextcheck // commands take theirs from cobra
}

func orchestratorRoot(a *app) *cobra.Command {
	root := a.root("Run pipelines of modules on any machines that reach NATS")
	root.Long = root.Short + ".\n\nWithout a NATS server configured, everything runs inside this process."
	root.AddCommand(
		runCommand(a, &runOptions{}), resumeCommand(a), serveCommand(a), devCommand(a), planCommand(a), validateCommand(a), graphCommand(a), schemaCommand(a),
		runsCommand(a), workersCommand(a), cacheCommand(a), authCommand(a), doctorCommand(a), versionCommand(a))
	return root
}

// Worker runs the worker's command line and returns its exit code.
func Worker(ctx context.Context, p Process) int {
	a := newApp("worker", p)
	return a.execute(ctx, workerRoot(a)) //nolint:contextcheck // commands take theirs from cobra
}

func workerRoot(a *app) *cobra.Command {
	root := workerCommand(a)
	root.AddCommand(versionCommand(a), capabilitiesCommand(a))
	return root
}

// app is one execution of one of the programs.
type app struct {
	Process
	binary   string // its name: orchestrator or worker, or that of the user's program
	env      settings.Environment
	set      *settings.Settings
	bind     *settings.Binder
	nats     *connect.Dialer
	sessions *access.Opener
	own      *program          // the user's own pipeline; nil = pipelines are in files
	logs     []*console.Logger // to be flushed at the end
	jsonErr  bool              // errors go to stderr as one JSON object: --progress json

	working sync.WaitGroup // what untilSignal has started

	readsOutput bool // the command shows what modules wrote: it warns about what it leaves out
}

func newApp(binary string, p Process) *app {
	if p.Stdin == nil {
		p.Stdin = strings.NewReader("")
	}
	if p.Exit == nil {
		p.Exit = func(int) {}
	}
	if p.Outlive == nil {
		p.Outlive = func() {}
	}
	a := &app{Process: p, binary: binary, env: settings.NewEnvironment(p.Env), set: &settings.Settings{}}
	a.bind = settings.NewBinder(binary, a.env)
	a.nats = &connect.Dialer{Connection: &a.set.Connection, Bind: a.bind, Env: a.env, Program: binary}
	a.sessions = &access.Opener{NATS: a.nats, Log: a.quietLogger}
	return a
}

// root is the program's root command, with the flags that every command has.
func (a *app) root(short string) *cobra.Command {
	root := &cobra.Command{Use: a.binary, Short: short}
	a.group(root)
	a.set.Define(root.PersistentFlags(), a.binary)
	_ = root.RegisterFlagCompletionFunc("output", completeFormat)
	_ = root.RegisterFlagCompletionFunc("progress", completeProgress)
	return root
}

// group lets a command that only groups others report a usage error when it is run.
func (a *app) group(cmd *cobra.Command) {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(cmd, args[0])
		}
		cmd.SetOut(a.Stderr)
		_ = cmd.Help()
		return exit.Usagef("%s needs a command", cmd.CommandPath())
	}
}

func unknownCommand(cmd *cobra.Command, word string) error {
	cmd.SuggestionsMinimumDistance = 2
	text := fmt.Sprintf("unknown command %q for %q", word, cmd.CommandPath())
	if s := cmd.SuggestionsFor(word); len(s) > 0 {
		return exit.Usagef("%s: did you mean %s?", text, strings.Join(s, " or "))
	}
	return exit.Usagef("%s; %s --help lists them", text, cmd.CommandPath())
}

// kept registers a logger, which is flushed before the program ends.
func (a *app) kept(l *console.Logger) *slog.Logger {
	a.logs = append(a.logs, l)
	return l.Logger
}

func (a *app) execute(ctx context.Context, root *cobra.Command) int {
	stop := reapOrphans(ctx)
	defer stop()
	err := a.executed(ctx, root)
	if !errors.As(err, new(exit.SignalError)) {
		a.working.Wait()
	}
	for _, l := range a.logs {
		l.Flush()
	}
	if err == nil {
		return exit.OK
	}
	code, text := explain(err)
	if text != "" {
		complain(a, text)
	}
	return code
}

// reapOrphans collects dead processes without a parent when this process is the
// first one of a container, until the returned function is called.
func reapOrphans(ctx context.Context) (stop func()) {
	if os.Getpid() != 1 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var reaping sync.WaitGroup
	reaping.Go(func() { orphans.Reap(ctx) })
	return func() { cancel(); reaping.Wait() }
}

func (a *app) executed(ctx context.Context, root *cobra.Command) error {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.HiddenDefaultCmd = false
	root.SetArgs(a.Args)
	root.SetIn(a.Stdin)
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.InitDefaultCompletionCmd(a.Args...)
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			a.group(cmd)
		}
	}
	a.bind.Adopt(root)
	return root.ExecuteContext(ctx)
}

// complain writes the error of a command that failed.
func complain(a *app, text string) {
	if a.jsonErr {
		progress.WriteFailure(a.Stderr, text)
		return
	}
	console.Writef(a.Stderr, "%s: %s\n", a.binary, safetext.Text(strings.TrimRight(text, "\n")))
}

// interruptible returns a context that the first signal cancels, with an
// error that knows its exit code. For commands to which signals mean nothing else.
func (a *app) interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() {
		select {
		case s := <-a.Signals:
			cancel(exit.SignalError{Signal: s})
		case <-ctx.Done():
		}
	})
	return ctx, func() { cancel(nil); watcher.Wait() }
}

// untilSignal does work that ignores contexts, such as reading a file that may be
// a pipe or a terminal, and returns at the signal that ends ctx. The work
// belongs to the app, which returns before it only after a signal: the system
// does not interrupt the opening of a pipe. It ends with the process then.
func (a *app) untilSignal(ctx context.Context, work func() error) error {
	done := make(chan error, 1)
	a.working.Go(func() { done <- work() })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// action is the body of a command: settings are bound, ctx ends at a signal.
type action func(ctx context.Context, args []string) error

// do builds a command's RunE: faults of flags, environment, configuration and
// arguments first, all of them.
func (a *app) do(check argsCheck, body action, more ...func() []string) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := a.prepare(cmd, args, check, more...); err != nil {
			return err
		}
		ctx, stop := a.interruptible(cmd.Context())
		defer stop()
		err := body(ctx, args)
		if cause := (exit.SignalError{}); errors.As(context.Cause(ctx), &cause) && err != nil {
			return cause
		}
		return err
	}
}

// argsCheck reports what is wrong with the arguments; "" = nothing.
type argsCheck func(args []string) string

// between wants from least to most arguments, which usage names.
func between(least, most int, usage string) argsCheck {
	return func(args []string) string {
		if len(args) < least {
			return "an argument is missing: " + usage
		}
		if len(args) > most {
			return fmt.Sprintf("unexpected argument %q: %s", args[most], usage)
		}
		return ""
	}
}
