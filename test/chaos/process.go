package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/modpipe/modpipe/internal/pause"
)

// process is a program under test. Its output goes to a file.
type process struct {
	name  string
	cmd   *exec.Cmd
	log   string
	ended chan struct{} // closed when it is gone
}

// launch starts a program with exactly this environment. The program outlives ctx: the
// caller must end it. Programs also end when chaos is killed.
func launch(dir, name string, env []string, path string, args ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the program has its own
	p := &process{name: name, log: log.Name(), ended: make(chan struct{})}
	p.cmd = &exec.Cmd{
		Path: path, Args: append([]string{path}, args...), Dir: dir, Env: env, Stdout: log, Stderr: log,
		SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { // ends with the process
		_ = p.cmd.Wait() // how it ended is in ProcessState
		close(p.ended)
	}()
	return p, nil
}

// exit returns the exit code, 128 + n after signal n. The process must have ended.
func (p *process) exit() int {
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) gone() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// signal sends a signal, unless the process has ended.
func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// kill ends the process as a crash does, and waits for its end.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.ended
}

// stop sends the process the signal to end. It kills the process when that takes too
// long.
func (p *process) stop(ctx context.Context, patience time.Duration) error {
	p.signal(syscall.SIGCONT)
	p.signal(syscall.SIGTERM)
	if p.await(ctx, patience) {
		return nil
	}
	p.signal(syscall.SIGQUIT) // its goroutines go to its log
	if !p.await(ctx, time.Second) {
		p.kill()
	}
	return fmt.Errorf("%s: did not go within %v", p.name, patience)
}

// await waits for the end of the process, and reports whether it ended.
func (p *process) await(ctx context.Context, patience time.Duration) bool {
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-p.ended:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return p.gone()
}

// said returns the end of its output.
func (p *process) said() string {
	const most = 2000
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text[max(0, len(text)-most):]))
}

// until repeats a question until the answer is yes; errNotInTime after patience.
func until(ctx context.Context, patience, every time.Duration, what string, yes func() bool) error {
	deadline := time.Now().Add(patience)
	for !yes() {
		if time.Now().After(deadline) {
			return fmt.Errorf("%w: %s (%v)", errNotInTime, what, patience)
		}
		if err := pause.For(ctx, every); err != nil {
			return err
		}
	}
	return nil
}

var errNotInTime = errors.New("did not happen in time")
