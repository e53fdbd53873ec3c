package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"time"

	"github.com/modpipe/modpipe/internal/exec"
	"github.com/modpipe/modpipe/internal/machine"
	"github.com/modpipe/modpipe/internal/orphans"
	"github.com/modpipe/modpipe/internal/scriptline"
	"github.com/modpipe/modpipe/internal/workspace"
)

// command is the command of one task. One goroutine at a time uses it: the one
// of Start, then the one of Wait.
type command struct {
	x     *Executor
	t     *exec.Task
	files *scratch
	out   exec.Sink

	cmd      *osexec.Cmd        // set by prepare
	marks    *scriptline.Script // by which a failing script reports its line; nil = it does not
	warnings []string
}

// Start starts the command of a task as a process of this machine.
func (x *Executor) Start(ctx context.Context, t *exec.Task, out exec.Sink) (exec.Handle, error) {
	needs, err := needsJSON(t.Needs)
	if err != nil {
		return nil, fmt.Errorf("fetch what it needs: %w", err)
	}
	files, err := newScratch(ctx, x.workspace, t.Dir, needs, x.spares)
	if err != nil {
		return nil, err
	}
	c := &command{x: x, t: t, files: files, out: out}
	h, err := c.start()
	if err != nil {
		c.leave(false)
		return nil, &exec.StartError{Err: err, Warnings: c.warnings}
	}
	return h, nil
}

// start prepares the command and starts its process.
func (c *command) start() (*handle, error) {
	if err := c.prepare(); err != nil {
		return nil, err
	}
	if f, ok := c.cmd.Stdin.(*os.File); ok {
		defer func() { _ = f.Close() }() // the process has a copy
	}
	marker := markerName + c.files.output
	c.x.guard.starts(marker, c.t.Job.Keyed)
	pipes, err := c.withSecrets()
	if err != nil {
		c.x.guard.notStarted(marker)
		return nil, err
	}
	p := newProcess(c.cmd, c.x.guard, marker)
	c.x.guard.begun(p, c.t.Job.Keyed)
	h := newHandle(c, p, pipes)
	pipes.read(&h.readers, c.out)
	return h, nil
}

// prepare builds the command from the job. The caller closes its Stdin.
func (c *command) prepare() error {
	job := c.t.Job
	if job.Func != nil {
		return fmt.Errorf("the job asks for the Go function %q, which this program does not have", job.Func.Name)
	}
	if job.Command == nil {
		return errors.New("the job has no command: it was made by a newer version of modpipe")
	}
	dir, err := workspace.Resolve(c.files.workspace, job.Command.Dir)
	if err != nil {
		return err
	}
	env, err := c.environment()
	if err != nil {
		return err
	}
	words, err := argv(job.Command, c.markedScript(), func(text string) (string, error) { return c.files.save("script", text) })
	if err != nil {
		return err
	}
	path, err := lookPath(words[0], dir, lookup(env, "PATH"))
	if err != nil {
		return fmt.Errorf("cannot start %q: %w", words[0], err)
	}
	c.cmd = &osexec.Cmd{Path: path, Args: words, Env: env, Dir: dir}
	ownSession(c.cmd)
	return c.stdin()
}

// stdin gives the command its input through a file: this takes any size, needs
// no goroutine, and does not block when the command does not read it.
func (c *command) stdin() error {
	if c.t.Job.Command.Stdin == "" {
		return nil // the null device
	}
	path, err := c.files.save("stdin", c.t.Job.Command.Stdin)
	if err != nil {
		return fmt.Errorf("keep stdin: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("keep stdin: %w", err)
	}
	c.cmd.Stdin = f
	return nil
}

// withSecrets writes the files of secrets and starts the process. The guard knows the
// attempt by now, and removes the files if this program is killed.
func (c *command) withSecrets() (*pipes, error) {
	err := c.files.writeSecrets(c.t.Secrets)
	if err == nil {
		var pipes *pipes
		if pipes, err = c.fork(); err == nil {
			return pipes, nil
		}
	}
	return nil, errors.Join(err, c.files.removeSecrets())
}

// fork starts the process, unless the task may not start any more.
func (c *command) fork() (*pipes, error) {
	if err := machine.CheckFiles(); err != nil {
		return nil, machine.Errorf("start a command: %w", machine.WithoutPath(err))
	}
	if err := machine.CheckProcesses(); err != nil {
		return nil, fmt.Errorf("start a command: %w", err)
	}
	pipes, err := newPipes(c.cmd)
	if err != nil {
		return nil, machine.Errorf("create pipes: %w", machine.WithoutPath(err))
	}
	if err := c.t.MayStart(); err != nil {
		pipes.abandon()
		return nil, err
	}
	if err := orphans.Start(c.cmd); err != nil {
		pipes.abandon()
		if fault := workspace.Check(c.cmd.Dir); fault != nil {
			return nil, machine.Errorf("the directory to start in: %w", fault)
		}
		return nil, startError(c.cmd, err)
	}
	return pipes, nil
}

// leave removes the files of the attempt, or keeps some of them for another one;
// never when a process of the attempt may be left.
func (c *command) leave(escaped bool) {
	end := c.files.leave
	if escaped {
		end = c.files.remove
	}
	if err := end(); err != nil {
		c.warnings = append(c.warnings, err.Error())
	}
}

// fenced is the error of a command with a key that the guard has killed because
// the lease had lapsed; empty for others.
func (c *command) fenced(p *process) string {
	if !c.t.Job.Keyed || c.x.guard.account(p).killed.IsZero() {
		return ""
	}
	return "worker " + c.t.Worker + " could not renew its lease: its guard ended the module"
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

// outputsLimit is for how long the outputs of an attempt wait for a file
// descriptor, which other attempts return when they end.
const outputsLimit = 10 * time.Second

// readOutputs reads the outputs. It waits when the worker has no file descriptor
// left, because this is not a fault of the command.
func (c *command) readOutputs() (map[string]string, error) {
	limit := time.Now().Add(outputsLimit)
	for {
		outputs, err := readOutputs(c.files.output, c.t.Mask)
		if !machine.OutOfFiles(err) || time.Now().After(limit) {
			return outputs, err
		}
		<-time.After(pollGroup)
	}
}
