package process

import (
	"os"
	"os/exec"
	"time"

	"github.com/modpipe/modpipe/internal/orphans"
)

// sweepLimit is how long the end of an attempt waits for processes that were killed
// and do not end: they hang in the kernel, or belong to another user.
const sweepLimit = 5 * time.Second

// process is the process of a command, and everything that it has started.
type process struct {
	cmd     *exec.Cmd
	pid     int
	guard   *guard        // may be nil
	marker  string        // NAME=value in the environment of everything that the command starts, and of nothing else
	began   time.Time     // when it was started
	noticed time.Time     // when its end was noticed; set before exited is closed
	exited  chan struct{} // closed when the leader has ended; it is not reaped before reap
}

// newProcess returns the process of a command that was started.
func newProcess(cmd *exec.Cmd, g *guard, marker string) *process {
	return &process{cmd: cmd, pid: cmd.Process.Pid, guard: g, marker: marker, began: time.Now(), exited: make(chan struct{})}
}

// wait returns when the leader has ended.
func (p *process) wait() {
	p.await()
	p.noticed = time.Now()
	close(p.exited)
}

// alive reports whether any process but the leader is left.
func (p *process) alive() bool { return len(p.others()) > 0 }

// reap kills the processes that are left, collects the leader, and returns how it
// ended and how many processes could not be ended.
func (p *process) reap() (*os.ProcessState, int) {
	left := p.sweep()
	p.guard.ended(p) // before its number can be given to another process
	_ = p.cmd.Wait() // ProcessState has the result
	orphans.Done(p.pid)
	return p.cmd.ProcessState, left
}

// sweep kills until no process is left: a killed process may just have forked.
func (p *process) sweep() int {
	limit := time.Now().Add(sweepLimit)
	pause := time.Millisecond
	for {
		others := p.others()
		if len(others) == 0 {
			return 0
		}
		p.kill(others)
		if time.Now().After(limit) {
			return len(others)
		}
		<-time.After(pause)
		pause = min(2*pause, 50*time.Millisecond)
	}
}
