package worker

import (
	"fmt"
	"strings"
	"time"

	"github.com/modpipe/modpipe/internal/attempt"
	"github.com/modpipe/modpipe/jobs"
)

const (
	// pollGroup is how often the rest of a group is looked for after TERM.
	pollGroup = 5 * time.Millisecond
	// quietLeft is how long what a command has left behind may write nothing
	// before it is ended.
	quietLeft = time.Second
	// killLeft is how long it may take after TERM.
	killLeft = 500 * time.Millisecond
	// mostLeft is how many processes that were ended are named.
	mostLeft = 20
)

// vigil supervises a command that runs, and what it leaves behind. Its methods
// are called by one goroutine.
type vigil struct {
	c     *command
	p     *process
	pipes *pipes
	stops *attempt.Stops
	acted *attempt.Stop // the request that it acts on
	left  []leftover    // what it has ended of what the command had left behind
}

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

// keep returns when the leader has ended or been killed, and what it has left
// behind has ended or had its time. It returns the request that ended the
// command; none when the command ended by itself.
func (v *vigil) keep() *attempt.Stop {
	limit, stopTimer := timer(v.c.job.Timeout)
	defer stopTimer()
	exited := v.p.exited
	var kill, poll <-chan time.Time
	for {
		select {
		case <-exited:
			if v.acted == nil {
				v.leaderEnded(limit)
				return v.acted
			}
			if !v.p.alive() {
				return v.acted
			}
			exited, poll = nil, time.After(pollGroup) // the others have the rest of the grace
		case <-poll:
			if !v.p.alive() {
				return v.acted
			}
			poll = time.After(pollGroup)
		case <-limit:
			limit = v.overdue()
		case <-v.stops.Changed():
			st, _ := v.stops.Asked()
			if st.Grace == 0 {
				v.p.end()
				return &st
			}
			if v.acted == nil {
				v.p.terminate()
				kill = time.After(st.Grace)
			}
			v.acted = &st
		case <-kill:
			v.p.end()
			return v.acted
		}
	}
}

// leaderEnded treats what the command has left behind after it ended by itself.
func (v *vigil) leaderEnded(limit <-chan time.Time) {
	if v.late() {
		v.end()
		return
	}
	v.rest(limit)
}

// overdue asks for the end because the timeout has passed, unless the worker
// or the whole machine was stopped for a while: the time at which the process
// ended counts, and time in which it could not run does not. It returns when
// to look again.
func (v *vigil) overdue() <-chan time.Time {
	account := v.c.guard.account(v.p)
	if !account.ended.IsZero() || v.p.hasExited() {
		return nil // its end is decided where it is noticed
	}
	if more := v.c.job.Timeout - (time.Since(v.p.began) - account.paused); more > 0 {
		return time.After(more)
	}
	v.stops.Ask(v.c.timedOut())
	return nil
}

// late reports whether a command that has ended by itself had exceeded its
// timeout by then, and makes that the reason of its end.
func (v *vigil) late() bool {
	limit := v.c.job.Timeout
	if limit == 0 || time.Since(v.p.began) <= limit {
		return false
	}
	account := v.c.guard.account(v.p)
	ended := v.p.noticed
	if !account.ended.IsZero() {
		ended = account.ended
	}
	if ended.Sub(v.p.began)-account.paused <= limit {
		return false
	}
	v.stops.Ask(v.c.timedOut())
	st, _ := v.stops.Asked()
	v.acted = &st
	return true
}

// rest gives what a command has left behind time for as long as it writes, at
// most the grace since the leader's end, and never beyond the timeout. The
// command itself has ended, so neither changes its status.
func (v *vigil) rest(limit <-chan time.Time) {
	deadline := v.p.noticed.Add(v.c.job.Grace)
	for {
		now := time.Now()
		until := v.pipes.written(now).Add(quietLeft)
		if deadline.Before(until) {
			until = deadline
		}
		if !until.After(now) {
			v.end()
			return
		}
		check := time.NewTimer(until.Sub(now))
		select {
		case <-v.pipes.closed: // what is still there does not write
			v.end()
		case <-limit:
			v.end()
		case <-v.stops.Changed():
			st, _ := v.stops.Asked()
			v.acted = &st
			v.end()
		case <-check.C:
			continue
		}
		check.Stop()
		return
	}
}

// end ends what a command has left behind, by TERM and then by KILL. The
// process's reap repeats KILL until nothing is left.
func (v *vigil) end() {
	left := v.p.leftovers(v.pipes)
	if len(left) == 0 {
		return
	}
	v.left = left
	if v.c.job.Grace > 0 && (v.acted == nil || v.acted.Grace > 0) {
		signalAll(left, false)
		limit := time.NewTimer(min(killLeft, v.c.job.Grace))
		defer limit.Stop()
		for gone := false; !gone; {
			select {
			case <-limit.C:
				gone = true
			case <-time.After(pollGroup):
				gone = len(v.p.leftovers(v.pipes)) == 0
			}
		}
	}
	signalAll(v.p.leftovers(v.pipes), true)
}

// report names the processes that were ended, at the end of the log.
func (v *vigil) report(out sink) {
	if len(v.left) == 0 {
		return
	}
	var names []string
	for _, l := range v.left[:min(len(v.left), mostLeft)] {
		names = append(names, l.String())
	}
	if more := len(v.left) - mostLeft; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	what := "a process"
	if len(v.left) > 1 {
		what = fmt.Sprintf("%d processes", len(v.left))
	}
	text := fmt.Sprintf("modpipe: ended %s that the command left behind: %s\n", what, strings.Join(names, ", "))
	out.write(jobs.Stderr, []byte(v.pipes.newline(jobs.Stderr)+text))
}

// end kills all of it and waits for the leader.
func (p *process) end() {
	p.kill(p.others())
	<-p.exited
}
