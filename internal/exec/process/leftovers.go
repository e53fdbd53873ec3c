package process

import (
	"fmt"
	"strings"
	"time"

	"github.com/modpipe/modpipe/jobs"
)

const (
	// pollGroup is how often the rest of a group is looked for after TERM.
	pollGroup = 5 * time.Millisecond
	// quietLeft is for how long the processes that a command has left behind may
	// write nothing before they are ended.
	quietLeft = time.Second
	// killLeft is the longest time between TERM and KILL for them.
	killLeft = 500 * time.Millisecond
	// mostLeft is how many processes that were ended are named.
	mostLeft = 20
)

// leftover is a process that a command has left behind.
type leftover struct {
	pid  int
	name string
}

func (l leftover) String() string {
	if l.pid < 0 {
		return fmt.Sprintf("process group %d", -l.pid)
	}
	if l.name == "" {
		return fmt.Sprintf("pid %d", l.pid)
	}
	return fmt.Sprintf("%s (pid %d)", l.name, l.pid)
}

// awaitRest leaves the other processes of a stopped command the rest of its grace.
func (h *handle) awaitRest() {
	for {
		select {
		case <-h.forced:
			return
		default:
		}
		if !h.p.alive() {
			return
		}
		select {
		case <-h.forced:
		case <-time.After(pollGroup):
		}
	}
}

// leaveRestTime gives the processes that a command has left behind time for as
// long as they write: at most the grace since the end of the command, and never
// beyond its time-out. Then it ends them. The command itself has ended, so neither
// changes its status.
func (h *handle) leaveRestTime() {
	job := h.c.t.Job
	rest := job.Grace
	if ran, _ := h.Ran(); job.Timeout > 0 {
		rest = min(rest, job.Timeout-ran)
	}
	deadline := h.p.noticed.Add(rest)
	for !h.isAsked() {
		now := time.Now()
		until := h.pipes.written(now).Add(quietLeft)
		if deadline.Before(until) {
			until = deadline
		}
		if !until.After(now) {
			break
		}
		check := time.NewTimer(until.Sub(now))
		select {
		case <-check.C:
			continue
		case <-h.pipes.closed: // no process that is left writes any more
		case <-h.asked:
		}
		check.Stop()
		break
	}
	h.endRest()
}

// endRest ends the processes that a command has left behind, by TERM and then by
// KILL. reap repeats KILL until nothing is left.
func (h *handle) endRest() {
	left := h.p.leftovers(h.pipes)
	if len(left) == 0 {
		return
	}
	h.left = left
	if h.c.t.Job.Grace > 0 && !h.isForced() {
		signalAll(left, false)
		limit := time.NewTimer(min(killLeft, h.c.t.Job.Grace))
		defer limit.Stop()
		for gone := false; !gone; {
			select {
			case <-limit.C:
				gone = true
			case <-time.After(pollGroup):
				gone = len(h.p.leftovers(h.pipes)) == 0
			}
		}
	}
	signalAll(h.p.leftovers(h.pipes), true)
}

func (h *handle) isForced() bool {
	select {
	case <-h.forced:
		return true
	default:
		return false
	}
}

// report names the processes that were ended, at the end of the log.
func (h *handle) report() {
	if len(h.left) == 0 {
		return
	}
	var names []string
	for _, l := range h.left[:min(len(h.left), mostLeft)] {
		l.name = h.c.t.Mask.Text(l.name) // the system cuts names, and Text masks what is cut at its end
		names = append(names, l.String())
	}
	if more := len(h.left) - mostLeft; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	what := "a process"
	if len(h.left) > 1 {
		what = fmt.Sprintf("%d processes", len(h.left))
	}
	text := fmt.Sprintf("modpipe: ended %s that the command left behind: %s\n", what, strings.Join(names, ", "))
	h.c.out.Write(jobs.Stderr, []byte(h.pipes.newline(jobs.Stderr)+text))
}
