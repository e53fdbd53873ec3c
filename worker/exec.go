package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/modpipe/modpipe/internal/attempt"
	"github.com/modpipe/modpipe/internal/machine"
	"github.com/modpipe/modpipe/internal/orphans"
	"github.com/modpipe/modpipe/internal/scriptline"
	"github.com/modpipe/modpipe/internal/workspace"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// command is the command of one attempt, with all that its process is told.
type command struct {
	job       *jobs.Job
	worker    string
	workspace *workspace.Source
	environ   []string // the worker's own environment
	home      home
	allow     allowance
	fencing   uint64
	guard     *guard      // may be nil
	spares    *spares     // may be nil
	needs     []byte      // content of $MODPIPE_NEEDS
	ready     func() bool // the last word before the start: false = it must not start any more; nil = it may

	marks *scriptline.Script // set by prepare: how the script tells its line when it fails; nil = it does not
}

// ending is how an execution ended. A status says what the outcome will;
// empty, the attempt is closed.
type ending struct {
	status   report.AttemptStatus
	exitCode *int
	text     string
	outputs  map[string]string
	typed    bool   // a Go function: result is what it returned
	result   []byte // msgpack
	reason   string // of a skip
	warnings []string
	unable   bool      // handed back: the machine could not begin it
	escaped  bool      // a process of it may still be there
	started  time.Time // zero when nothing started
	finished time.Time

	permanent  bool          // not to be tried again
	ignorable  bool          // the module's predicate lets the failure be ignored
	retryAfter time.Duration // instead of the policy's delay
}

// sink takes what a command writes. It may block, and so stops the command.
type sink interface {
	write(jobs.Stream, []byte)
}

// run runs the command and returns when its processes are gone and what they
// wrote has been handed to out.
func (c *command) run(ctx context.Context, stops *attempt.Stops, out sink) (e ending) {
	if st, ok := stops.Asked(); ok {
		return stoppedBefore(st)
	}
	s, err := newScratch(ctx, c.workspace, c.needs, c.spares)
	if err != nil {
		return notStarted(err)
	}
	defer func() {
		end := s.leave
		if e.escaped {
			end = s.remove
		}
		if err := end(); err != nil {
			e.warnings = append(e.warnings, err.Error())
		}
	}()
	cmd, warnings, err := c.prepare(s)
	if err != nil {
		e = notStarted(err)
	} else {
		e = c.execute(cmd, s, stops, out)
	}
	e.warnings = append(warnings, e.warnings...)
	return e
}

// prepare makes the command from the job; the caller closes its Stdin.
func (c *command) prepare(s *scratch) (*exec.Cmd, []string, error) {
	if c.job.Func != nil {
		return nil, nil, fmt.Errorf("the job asks for the Go function %q, which this program does not have", c.job.Func.Name)
	}
	if c.job.Command == nil {
		return nil, nil, errors.New("the job has no command: it was made by a newer version of modpipe")
	}
	dir, err := workspace.Resolve(s.workspace, c.job.Command.Dir)
	if err != nil {
		return nil, nil, err
	}
	env, warnings, err := c.environment(s)
	if err != nil {
		return nil, warnings, err
	}
	words, err := argv(c.job.Command, c.markedScript(s), func(text string) (string, error) { return s.save("script", text) })
	if err != nil {
		return nil, warnings, err
	}
	path, err := lookPath(words[0], dir, lookup(env, "PATH"))
	if err != nil {
		return nil, warnings, fmt.Errorf("cannot start %q: %w", words[0], err)
	}
	cmd := &exec.Cmd{Path: path, Args: words, Env: env, Dir: dir}
	ownSession(cmd)
	return cmd, warnings, c.stdin(cmd, s)
}

// stdin gives the command its input through a file: it takes any size, needs
// no goroutine, and nothing hangs when the command does not read it.
func (c *command) stdin(cmd *exec.Cmd, s *scratch) error {
	if c.job.Command.Stdin == "" {
		return nil // the null device
	}
	path, err := s.save("stdin", c.job.Command.Stdin)
	if err != nil {
		return fmt.Errorf("keep stdin: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("keep stdin: %w", err)
	}
	cmd.Stdin = f
	return nil
}

// execute starts the command, supervises it to its end and reads its result.
func (c *command) execute(cmd *exec.Cmd, s *scratch, stops *attempt.Stops, out sink) ending {
	if f, ok := cmd.Stdin.(*os.File); ok {
		defer func() { _ = f.Close() }() // it was only read
	}
	if st, ok := stops.Asked(); ok {
		return stoppedBefore(st)
	}
	marker := "MODPIPE_OUTPUT=" + s.output
	c.guard.starts(marker, c.job.Keyed)
	pipes, err := c.start(cmd)
	if err != nil {
		c.guard.notStarted(marker)
		return notStarted(err)
	}
	if pipes == nil {
		c.guard.notStarted(marker)
		return ending{status: report.AttemptLost, text: lapsedBefore(c.worker), finished: time.Now()}
	}
	p := newProcess(cmd, c.guard, marker)
	c.guard.begun(p, c.job.Keyed)
	var wg sync.WaitGroup
	wg.Go(p.wait)
	pipes.read(&wg, out)
	v := &vigil{c: c, p: p, pipes: pipes, stops: stops}
	stopped := v.keep()
	e := ending{started: p.began}
	state, left := p.reap()
	if _, signal := exitOf(state); stopped == nil && signal == "SIGKILL" {
		stopped = c.fenced(p)
	}
	pipes.finish()
	wg.Wait()
	v.report(out)
	e.finished = time.Now()
	e.escaped = left > 0 || pipes.abandoned()
	if left > 0 {
		e.warnings = append(e.warnings, fmt.Sprintf("%d processes that it started could not be ended", left))
	}
	if pipes.abandoned() {
		e.warnings = append(e.warnings, "a process that it started has left its process group and still holds its output: not waited for")
	}
	c.judge(&e, state, stopped)
	if stopped == nil && e.status == report.AttemptFailed {
		e.text += c.failedLine(state, s) + lineEndFault(cmd.Path, c.job.Command)
	}
	c.results(&e, s)
	return e
}

// start starts the command. Without pipes nothing was started, because it may
// not start any more.
func (c *command) start(cmd *exec.Cmd) (*pipes, error) {
	if err := machine.CheckFiles(); err != nil {
		return nil, machine.Errorf("start a command: %w", machine.WithoutPath(err))
	}
	if err := machine.CheckProcesses(); err != nil {
		return nil, fmt.Errorf("start a command: %w", err)
	}
	pipes, err := newPipes(cmd)
	if err != nil {
		return nil, machine.Errorf("create pipes: %w", machine.WithoutPath(err))
	}
	if c.ready != nil && !c.ready() {
		pipes.abandon()
		return nil, nil
	}
	if err := orphans.Start(cmd); err != nil {
		pipes.abandon()
		if fault := workspace.Check(cmd.Dir); fault != nil {
			return nil, machine.Errorf("the directory to start in: %w", fault)
		}
		return nil, startError(cmd, err)
	}
	return pipes, nil
}

// fenced is the end of a command with a key that the guard has killed because
// the lease had lapsed; nil for others.
func (c *command) fenced(p *process) *attempt.Stop {
	if !c.job.Keyed || c.guard.account(p).killed.IsZero() {
		return nil
	}
	return &attempt.Stop{Status: report.AttemptLost, Text: "worker " + c.worker + " could not renew its lease: its guard ended the module"}
}

func lapsedBefore(worker string) string {
	return "the lease of worker " + worker + " lapsed before the start"
}

// notStarted is the end of an attempt that did not start. It is handed back when
// the machine is the cause.
func notStarted(err error) ending {
	e := ending{status: report.AttemptFailed, text: err.Error(), finished: time.Now()}
	if machine.Caused(err) {
		e.status, e.unable = report.AttemptHandedBack, true
	}
	return e
}

func stoppedBefore(st attempt.Stop) ending {
	return ending{status: st.Status, text: st.Text, finished: time.Now()}
}

// timer is a channel that fires after d, never for 0.
func timer(d time.Duration) (<-chan time.Time, func() bool) {
	if d <= 0 {
		return nil, func() bool { return true }
	}
	t := time.NewTimer(d)
	return t.C, t.Stop
}

func (c *command) timedOut() attempt.Stop {
	text := fmt.Sprintf("timed out after %v", short(c.job.Timeout))
	if c.job.DefaultTimeout {
		text += ", the default: `timeout` sets another limit"
	}
	return attempt.Stop{Status: report.AttemptTimedOut, Text: text, Grace: c.job.Grace}
}

// judge gives the ending its status: what was asked of it first counts, else
// the exit code.
func (c *command) judge(e *ending, state *os.ProcessState, stopped *attempt.Stop) {
	code, signal := exitOf(state)
	e.exitCode = &code
	switch {
	case stopped != nil:
		e.status, e.text = stopped.Status, stopped.Text
	case code == 0:
		e.status = report.AttemptSucceeded
	default:
		e.status, e.text = report.AttemptFailed, exitText(code, signal)
	}
}

func exitText(code int, signal string) string {
	text := fmt.Sprintf("exit code %d", code)
	switch signal {
	case "":
		return text
	case "SIGKILL":
		return text + ": killed by SIGKILL — out of memory?"
	}
	return text + ": killed by " + signal
}

// results reads what the command has set, also when it failed. A fault in it
// fails an attempt that would have succeeded.
func (c *command) results(e *ending, s *scratch) {
	outputs, err := c.readOutputs(s.output)
	e.outputs = outputs
	switch {
	case err == nil:
	case e.status == report.AttemptSucceeded:
		e.status, e.text = report.AttemptFailed, err.Error()
	default:
		e.warnings = append(e.warnings, err.Error())
	}
}

// outputsLimit is how long the outputs of an attempt wait for a file
// descriptor, which other attempts give back when they end.
const outputsLimit = 10 * time.Second

// readOutputs reads the outputs. That the worker has no file descriptor left
// is not the command's fault.
func (c *command) readOutputs(path string) (map[string]string, error) {
	limit := time.Now().Add(outputsLimit)
	for {
		outputs, err := readOutputs(path)
		if !machine.OutOfFiles(err) || time.Now().After(limit) {
			return outputs, err
		}
		<-time.After(pollGroup)
	}
}
