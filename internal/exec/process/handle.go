package process

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/modpipe/modpipe/internal/exec"
	"github.com/modpipe/modpipe/report"
)

// handle is a command that was started, and everything that it starts. Wait owns
// it; the fields under mu are shared with Stop and Ran.
type handle struct {
	c       *command
	p       *process
	pipes   *pipes
	readers sync.WaitGroup
	left    []leftover // ended after the command had left them behind

	asked  chan struct{} // closed by the first Stop
	forced chan struct{} // closed by the first Stop without a grace

	mu       sync.Mutex
	stop     *exec.Stop // the newest request
	signaled bool       // a request reached the command while it ran
	ended    bool       // the leader has ended, and ran is known
	ran      time.Duration
}

func newHandle(c *command, p *process, out *pipes) *handle {
	return &handle{c: c, p: p, pipes: out, asked: make(chan struct{}), forced: make(chan struct{})}
}

// Stop sends TERM to the group of the command, or KILL to everything that
// descends from it. When the command itself has ended, Wait ends the rest.
func (h *handle) Stop(s exec.Stop) {
	h.mu.Lock() // held over the signals, so that the number is not collected and given to another process
	defer h.mu.Unlock()
	if h.stop == nil {
		close(h.asked)
	}
	if s.Grace == 0 && (h.stop == nil || h.stop.Grace > 0) {
		close(h.forced)
	}
	h.stop = &s
	if h.ended {
		return
	}
	h.signaled = true
	if s.Grace > 0 {
		h.p.terminate()
		return
	}
	h.p.kill(h.p.others())
}

// Ran leaves out the time in which the machine was suspended, as far as the guard
// has noticed it.
func (h *handle) Ran() (d time.Duration, ended bool) {
	h.mu.Lock()
	ran, ended := h.ran, h.ended
	h.mu.Unlock()
	if ended {
		return ran, true
	}
	account := h.c.x.guard.account(h.p)
	if !account.ended.IsZero() || h.p.hasExited() {
		return 0, true // Wait is about to notice it
	}
	return time.Since(h.p.began) - account.paused, false
}

// Wait returns when the command and everything that it started has ended.
func (h *handle) Wait() exec.Result {
	h.p.wait()
	h.measure()
	if h.stopped() {
		h.awaitRest()
	} else {
		h.leaveRestTime()
	}
	r := exec.Result{Started: h.p.began}
	if err := h.c.files.removeSecrets(); err != nil { // while the guard would do it, if this program were killed
		h.c.warn("%v", err)
	}
	state, left := h.p.reap()
	h.judge(&r, state)
	h.pipes.finish()
	h.readers.Wait()
	h.report()
	r.Finished = time.Now()
	if left > 0 {
		h.c.warn("%d processes that it started could not be ended", left)
	}
	if h.pipes.abandoned() {
		h.c.warn("a process that it started has left its process group and still holds its output: not waited for")
	}
	if r.Status == report.AttemptFailed && !h.isAsked() {
		r.Error += h.c.failedLine(state) + lineEndFault(h.c.cmd.Path, h.c.t.Job.Command)
	}
	r.Outputs, r.OutputFault = h.c.readOutputs()
	r.Gone = left == 0 && !h.pipes.abandoned()
	h.c.leave(!r.Gone)
	r.Warnings = h.c.warnings
	return r
}

func (c *command) warn(format string, args ...any) {
	c.warnings = append(c.warnings, fmt.Sprintf(format, args...))
}

// judge gives the result the status by which the command ended itself.
func (h *handle) judge(r *exec.Result, state *os.ProcessState) {
	code, signal := exitOf(state)
	r.ExitCode = &code
	if code == 0 {
		r.Status = report.AttemptSucceeded
		return
	}
	r.Status, r.Error = report.AttemptFailed, exitText(code, signal)
	if signal == "SIGKILL" && !h.isAsked() {
		if why := h.c.fenced(h.p); why != "" {
			r.Status, r.Error = report.AttemptLost, why
		}
	}
}

// measure notes for how long the command ran until its end. From now on Stop
// sends no signals.
func (h *handle) measure() {
	ran := h.took()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ran, h.ended = ran, true
}

// took asks the guard only when the time-out could have passed: this worker may
// have been suspended between the end and the moment in which it noticed it.
func (h *handle) took() time.Duration {
	ran := h.p.noticed.Sub(h.p.began)
	if limit := h.c.t.Job.Timeout; limit == 0 || ran <= limit {
		return ran
	}
	account := h.c.x.guard.account(h.p)
	if !account.ended.IsZero() {
		ran = account.ended.Sub(h.p.began)
	}
	return ran - account.paused
}

// stopped reports whether a request reached the command while it ran.
func (h *handle) stopped() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.signaled
}

func (h *handle) isAsked() bool {
	select {
	case <-h.asked:
		return true
	default:
		return false
	}
}
