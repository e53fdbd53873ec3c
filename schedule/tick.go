package schedule

import (
	"slices"
	"strings"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// tick looks at everything that is under way: losses, silence, requests to
// end, queue time-outs, jobs that went missing. It runs when something of
// that may have changed, and once a second while anything is under way.
func (d *Dispatcher) tick(now time.Time) {
	if d.tickAt.IsZero() || now.Before(d.tickAt) {
		return
	}
	d.tickAt = time.Time{}
	next := now.Add(time.Second)
	for _, i := range d.activeNodes() {
		n, m := d.run.nodes[i], d.memo(i)
		if m.closing || !d.mayClose(n, now) {
			continue
		}
		if n.claim != nil {
			next = earlier(next, d.tickClaimed(n, m, now))
		} else {
			d.tickUnclaimed(n, m, now)
		}
	}
	for _, l := range d.sorted {
		d.checkNobody(l)
		next = earlier(next, d.tickQueue(l, now))
	}
	d.writeControl()
	if len(d.active) > 0 || len(d.run.nobody) > 0 {
		d.tickAt = next
	}
}

func earlier(a, b time.Time) time.Time {
	if b.IsZero() || a.Before(b) {
		return a
	}
	return b
}

func (d *Dispatcher) activeNodes() []int {
	list := make([]int, 0, len(d.active))
	for i := range d.active {
		list = append(list, i)
	}
	slices.Sort(list)
	return list
}

// tickClaimed checks an attempt that a worker has claimed.
func (d *Dispatcher) tickClaimed(n *node, m *memo, now time.Time) time.Time {
	lost, next := d.fleet.lost(n.claim, now)
	if lost {
		d.close(n, inPlaceOf(n, report.AttemptLost, "worker "+n.claim.Worker+" fell silent", now), false)
		return time.Time{}
	}
	d.probe(n, m, now)
	grace := n.module.Policy.Grace
	if why := d.run.stopped(n); why != "" {
		kill := d.run.kill
		if m.asked.IsZero() || (kill && !m.asksKill) {
			m.asked, m.askedLast = now, time.Time{}
			m.asksKill = kill
		}
		if m.askedLast.IsZero() || now.Sub(m.askedLast) >= askEvery {
			m.askedLast = now
			d.do(Ask{n.claim.Worker, jobs.CancelAttempt{Module: jobs.ModuleID(n.module.Token), Attempt: n.attempt, Kill: kill, Reason: why}})
		}
		if !d.run.needsGrant(n) && now.Sub(latest(m.asked, d.fleet.since)) > grace+silence {
			d.close(n, inPlaceOf(n, report.AttemptCancelled, "worker "+n.claim.Worker+" did not answer a cancellation", now), false)
		}
		return earlier(next, m.askedLast.Add(askEvery))
	}
	if at := d.deliver(n, m, now); !at.IsZero() {
		next = earlierSet(next, at)
	}
	if timeout := n.module.Policy.Timeout; timeout > 0 {
		due := latest(n.claimed.Add(timeout+grace), d.fleet.since).Add(silence) // an observer that was stopped listens first
		if !now.Before(due) && !d.run.needsGrant(n) {
			d.close(n, inPlaceOf(n, report.AttemptTimedOut, "worker "+n.claim.Worker+" is silent about an attempt whose timeout of "+timeout.String()+" has passed", now), false)
		} else if d.run.needsGrant(n) && !now.Before(due) && now.Sub(m.askedLast) >= askEvery {
			m.askedLast = now
			d.do(Ask{n.claim.Worker, jobs.CancelAttempt{Module: jobs.ModuleID(n.module.Token), Attempt: n.attempt, TimedOut: true, Reason: "timed out after " + timeout.String()}})
		}
	}
	return next
}

func inPlaceOf(n *node, s report.AttemptStatus, text string, now time.Time) jobs.Outcome {
	c := n.claim
	return jobs.Outcome{
		Attempt: n.attempt, Status: s, Worker: c.Worker, Incarnation: c.Incarnation, Nonce: c.Nonce,
		By: "orchestrator", Error: text, Started: c.Started, Finished: now,
	}
}

// tickUnclaimed looks at an attempt whose job waits, or runs for a moment only.
func (d *Dispatcher) tickUnclaimed(n *node, m *memo, now time.Time) {
	if why := d.run.stopped(n); why != "" {
		d.close(n, jobs.Outcome{Attempt: n.attempt, Status: report.AttemptCancelled, By: "orchestrator", Reason: why}, m.published || d.run.epoch > 1)
		return
	}
	if !m.published || m.fetching {
		return
	}
	if !m.uncertain.IsZero() {
		if !now.Before(m.uncertain) {
			m.uncertain, m.republish = time.Time{}, true
			d.publish(n, m, now)
		}
		return
	}
	if now.Sub(m.audited) >= auditAfter {
		m.audited = now
		d.do(Audit{ID: jobs.AttemptID{Module: jobs.ModuleID(n.module.Token), Attempt: n.attempt}, Lane: n.lane})
	}
}

// lackNow is what the workers lack for a lane. Others may have come since the wait for
// one was recorded.
func (d *Dispatcher) lackNow(l *lane) jobs.LaneUnserved {
	lack := d.run.nobody[l.name]
	if l.prepared && d.fleet.synced {
		lack.Missing, lack.Closest = d.fleet.lack(l.set)
	}
	return lack
}

// tickQueue ends modules that have waited too long for a capable worker.
func (d *Dispatcher) tickQueue(l *lane, now time.Time) time.Time {
	since, none := d.run.nobodyAt[l.name]
	if !none || len(l.capable) > 0 {
		return time.Time{}
	}
	hopeless, lack := l.prepared && d.fleet.hopeless(l.set), d.lackNow(l)
	var next time.Time
	for _, n := range d.run.nodes {
		waits := n.status == report.Ready || (n.status == report.Retrying && !n.retryAt.After(now))
		if n.lane != l.name || !waits || n.claim != nil {
			continue
		}
		m := d.memo(n.index)
		if m.closing || m.condition != conditionTrue || d.unlooked(n, m) || d.run.stopped(n) != "" || !d.mayClose(n, now) {
			continue
		}
		due := latest(n.since, since).Add(n.module.Policy.QueueTimeout)
		if now.Before(due) && !hopeless {
			if next.IsZero() || due.Before(next) {
				next = due
			}
			continue
		}
		d.close(n, jobs.Outcome{Status: report.AttemptFailed, NoWorker: true, Error: noWorkerText(n, lack, hopeless)}, m.published || d.run.epoch > 1)
	}
	return next
}

func (d *Dispatcher) checkDeadline(now time.Time) {
	limit := d.run.pipeline.Deadline
	if limit == 0 || d.run.cancel != nil || d.cancelling || d.run.live == 0 || now.Before(d.run.started.Add(limit)) {
		return
	}
	d.cancelling = true
	d.do(CancelRun{Expect: d.run.cancelSeq, Cancel: jobs.Cancel{
		ID: "deadline", By: "deadline", Deadline: true, Reason: "its deadline of " + limit.String() + " has passed",
	}})
}

func (d *Dispatcher) checkEnd(now time.Time) {
	if d.run.live > 0 || d.finishing || d.locking.asked > 0 || d.cache.asked > 0 || len(d.run.forged) > 0 || !d.noted() || !d.mayClose(nil, now) {
		return
	}
	d.finishing = true
	d.do(Finish{End: d.run.verdict()})
}

// wake is when Decide wants to be called again at the latest.
func (d *Dispatcher) wake() time.Time {
	at := d.tickAt
	if len(d.timers.items) > 0 {
		at = earlierSet(at, d.timers.items[0].at)
	}
	if !d.heldUntil.IsZero() {
		at = earlierSet(at, d.heldUntil)
	}
	if len(d.locking.waiting) > 0 {
		at = earlierSet(at, d.locking.retryAt)
	}
	if len(d.cache.waiting) > 0 {
		at = earlierSet(at, d.cache.retryAt)
	}
	if d.awaitsCalm {
		at = earlierSet(at, d.fleet.quiet)
	}
	if limit := d.run.pipeline.Deadline; limit > 0 && !d.cancelling && d.run.cancel == nil && d.run.live > 0 {
		at = earlierSet(at, d.run.started.Add(limit))
	}
	return at
}

func earlierSet(a, b time.Time) time.Time {
	if a.IsZero() {
		return b
	}
	return earlier(a, b)
}

// verdict is how the run ends, once every module has.
func (r *Run) verdict() jobs.End {
	if r.cancel != nil {
		text := "cancelled by " + r.cancel.By
		if r.cancel.Reason != text { // the person gave no reason
			text += ": " + r.cancel.Reason
		}
		return jobs.End{Status: report.RunCancelled, Error: text}
	}
	first, more := "", 0
	for _, n := range r.nodes {
		if n.status != report.Failed && n.status != report.TimedOut {
			continue
		}
		if first != "" {
			more++
			continue
		}
		first = n.module.Name + " " + failedHow(n)
		if line := firstLine(n.err); line != "" {
			first += ": " + line
		}
	}
	if first == "" {
		return jobs.End{Status: report.RunSucceeded}
	}
	if more > 0 {
		first += " (and " + plural(more, "more failure") + ")"
	}
	return jobs.End{Status: report.RunFailed, Error: first}
}

// firstLine is what others say of an error: the stack of a panic is told once,
// by the module itself.
func firstLine(err string) string {
	line, _, _ := strings.Cut(err, "\n")
	return line
}
