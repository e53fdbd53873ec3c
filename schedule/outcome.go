package schedule

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// applyCell takes a record of a module's cell. What is noise is skipped.
func (r *Run) applyCell(e jobs.Entry) {
	r.noteAuth(e)
	i, ok := r.byToken[e.Cell]
	if !ok {
		r.skip(e, nil, "the run has no such module")
		return
	}
	n, claim, outcome := r.nodes[i], e.Record.Claim, e.Record.Outcome
	why := ""
	switch {
	case r.end != nil:
		why = "the run has ended"
	case r.epoch == 0:
		why = "no orchestrator has decided for the run yet"
	case e.Unread != nil:
		why = "it cannot be read: " + e.Unread.Error()
	case e.Auth == jobs.Forged:
		why = unsigned
	case claim != nil:
		why = n.misfit(claim)
	case outcome != nil:
		why = n.misfitOutcome(outcome)
	default:
		why = "it is neither a claim nor an outcome"
	}
	switch {
	case why != "" && e.Auth != jobs.Forged && n.endedBeside(outcome):
		n.cell = e.Sequence
	case why != "":
		r.skip(e, n, why)
	case claim != nil:
		r.applyClaim(e, n, claim)
	default:
		r.applyOutcome(e, n, outcome)
	}
}

func (r *Run) applyClaim(e jobs.Entry, n *node, c *jobs.Claim) {
	n.cell, n.claim, n.claimed, n.token, n.released = e.Sequence, c, r.now, e.Sequence, false
	if r.needsGrant(n) && !n.granted { // its grant is not in the log, and it holds its key all the same
		n.granted = true
		r.held.add(&n.module.Policy, 1)
	}
	if n.status == report.Retrying {
		r.become(n, report.Ready)
	}
	r.become(n, report.Running)
	if n.begun.IsZero() {
		n.begun = r.now
	}
	started := c.Started
	n.attempts = append(n.attempts, report.Attempt{Number: int(c.Attempt), Worker: c.Worker, Status: report.AttemptRunning, Started: &started})
	r.changed = append(r.changed, n.index)
	r.event(report.Event{Event: report.EventModuleStarted, Module: n.module.Name, Attempt: int(c.Attempt), Worker: c.Worker})
}

func (r *Run) applyOutcome(e jobs.Entry, n *node, o *jobs.Outcome) {
	n.cell = e.Sequence
	r.releaseKeys(n)
	if n.status == report.Retrying {
		r.become(n, report.Ready)
	}
	if o.Attempt != 0 {
		r.recordAttempt(n, o)
	}
	if n.module.Cache != nil || len(o.CacheDirs) > 0 {
		n.last, n.lastEpoch = o, r.epoch
	}
	n.warnings = append(n.warnings, o.Warnings...)
	n.claim, n.token, n.ignorable = nil, 0, o.Ignorable
	r.conclude(n, o)
}

// recordAttempt enters an executed attempt into the report.
func (r *Run) recordAttempt(n *node, o *jobs.Outcome) {
	k := len(n.attempts) - 1
	if k >= 0 && n.attempts[k].Number == int(o.Attempt) && o.Status == report.AttemptSkipped && o.Started.IsZero() {
		n.attempts = n.attempts[:k] // the worker that decided its condition had claimed it for that
		if k == 0 {
			n.begun = time.Time{}
		}
		return
	}
	if k < 0 || n.attempts[k].Number != int(o.Attempt) {
		if o.Started.IsZero() {
			return // closed before anybody had started it
		}
		started := o.Started
		n.attempts = append(n.attempts, report.Attempt{Number: int(o.Attempt), Worker: o.Worker, Started: &started})
		k++
		begun := r.now.Add(-max(0, o.Finished.Sub(o.Started))) // by the clock of the log
		if n.begun.IsZero() {
			n.begun = begun
		}
		r.event(report.Event{Event: report.EventModuleStarted, Time: begun, Module: n.module.Name, Attempt: int(o.Attempt), Worker: o.Worker})
	}
	a := &n.attempts[k]
	finished := o.Finished
	if finished.IsZero() {
		finished = r.now
	}
	a.Status, a.ExitCode, a.Error, a.Finished = o.Status, o.ExitCode, o.Error, &finished
	if a.Status == report.AttemptSkipped { // a function ran to its end, and said Skip
		a.Status = report.AttemptSucceeded
	}
	if !o.Started.IsZero() {
		started := o.Started
		a.Started = &started
	}
	n.outputs, n.artifacts = o.Outputs, o.Artifacts
}

// conclude decides what the end of an attempt means for its module.
func (r *Run) conclude(n *node, o *jobs.Outcome) {
	why := r.stopped(n)
	switch o.Status {
	case report.AttemptSucceeded:
		if o.Cached != nil {
			n.cached = o.Cached
			r.reuse(n, fromCache(o))
			r.settle()
			return
		}
		n.flaky = n.flaky || n.module.Cache != nil && n.ran > 0
		r.endSelf(n, report.Succeeded, "", "")
	case report.AttemptSkipped:
		r.endSelf(n, report.Skipped, o.Reason, "")
	case report.AttemptCancelled:
		reason := why
		if reason == "" {
			reason = o.Reason
		}
		r.endSelf(n, report.Cancelled, reason, interrupted(n))
	case report.AttemptFailed, report.AttemptTimedOut:
		r.concludeFailure(n, o, why)
	case report.AttemptLost:
		n.losses = append(n.losses, o.Worker)
		if limit := n.module.Policy.MaxLosses; why == "" && len(n.losses) >= limit {
			r.endSelf(n, report.Failed, "", lostText(n.losses))
			return
		}
		r.reopen(n, o, why, time.Time{})
	case report.AttemptHandedBack:
		r.concludeHandBack(n, o, why)
	default:
		r.endSelf(n, report.Failed, "", fmt.Sprintf("an outcome of unknown status %q", o.Status))
	}
}

// refusal is a hand-back by a machine that could not begin the attempt.
type refusal struct{ worker, reason string }

// concludeHandBack gives the module to another worker. A module that no
// machine can begin fails after as many tries as it may lose workers.
func (r *Run) concludeHandBack(n *node, o *jobs.Outcome, why string) {
	if o.Unable {
		n.unable = append(n.unable, refusal{o.Worker, firstLine(o.Error)})
	}
	if o.Unable && why == "" && len(n.unable) >= n.module.Policy.MaxLosses {
		r.endSelf(n, report.Failed, "", unableText(n.unable))
		return
	}
	r.reopen(n, o, why, time.Time{})
}

// unableText names each machine with its reason once.
func unableText(refusals []refusal) string {
	var parts []string
	for _, x := range refusals {
		if part := x.worker + ": " + x.reason; !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	return fmt.Sprintf("no machine could begin it in %s (max-losses): %s", plural(len(refusals), "attempt"), strings.Join(parts, "; "))
}

func lostText(workers []string) string {
	times := strconv.Itoa(len(workers)) + " times"
	if len(workers) == 1 {
		times = "once"
	}
	text := "worker lost " + times + ": " + strings.Join(workers, ", ")
	if slices.ContainsFunc(workers, func(w string) bool { return w != workers[0] }) { // one machine would explain one worker
		text += "; the module may end its workers, or exhaust their memory: several were lost while it ran"
	}
	return text
}

func (r *Run) concludeFailure(n *node, o *jobs.Outcome, why string) {
	status := report.Failed
	if o.Status == report.AttemptTimedOut {
		status = report.TimedOut
	}
	if o.Attempt == 0 {
		n.noWorker = o.NoWorker
		r.endSelf(n, status, o.Reason, beside(o.Error, interrupted(n)))
		return
	}
	n.ran++
	if !retries(n, o) {
		r.endSelf(n, status, o.Reason, o.Error)
		return
	}
	delay := r.delay(n, o)
	r.reopen(n, o, why, r.now.Add(delay))
}

// retries reports whether the policy tries an attempt that ended so again.
func retries(n *node, o *jobs.Outcome) bool {
	policy := &n.module.Policy.Retry
	if o.Permanent || n.ran >= policy.Attempts {
		return false
	}
	if policy.ExitCodes == nil {
		return true
	}
	if o.Status == report.AttemptTimedOut || o.ExitCode == nil {
		return false
	}
	return slices.Contains(policy.ExitCodes, *o.ExitCode)
}

// delay is base × 2^(n−1), capped, and a jitter on top of up to a quarter of
// it. The jitter follows from the names, so that every fold of the log finds
// the same delay.
func (r *Run) delay(n *node, o *jobs.Outcome) time.Duration {
	if o.RetryAfter > 0 {
		return o.RetryAfter
	}
	policy := &n.module.Policy.Retry
	d := backoff(policy.Delay, policy.MaxDelay, n.ran)
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s/%s/%d", r.spec.Run, n.module.Token, n.attempt) // a hash never fails
	jitter := d / 4 / 1023 * time.Duration(h.Sum64()%1024)
	return d + min(jitter, math.MaxInt64-d)
}

// backoff is the delay after the given number of attempts: it doubles up to most.
func backoff(base, most time.Duration, attempts int) time.Duration {
	d := base
	for range attempts - 1 {
		if d > most/2 {
			return most
		}
		d *= 2
	}
	return min(d, most)
}

// reopen opens the next attempt of a module, immediately or at a time. When the
// run has been stopped, the module ends instead.
func (r *Run) reopen(n *node, o *jobs.Outcome, why string, at time.Time) {
	if why != "" {
		r.endSelf(n, report.Cancelled, why, cmp.Or(interrupted(n), o.Error))
		return
	}
	n.attempt++
	n.since, n.retryAt = r.now, at
	if at.IsZero() {
		r.become(n, report.Ready)
	} else {
		if n.status == report.Ready {
			r.become(n, report.Running) // it ended before it was seen to start
		}
		r.become(n, report.Retrying)
		n.since = at
	}
	in := max(0, n.since.Sub(r.now).Seconds())
	text := o.Error
	if text == "" {
		text = string(o.Status)
	}
	r.event(report.Event{Event: report.EventModuleRetrying, Module: n.module.Name, Attempt: int(o.Attempt), Worker: o.Worker, ExitCode: o.ExitCode, Error: text, Status: string(o.Status), In: &in})
	r.changed = append(r.changed, n.index)
}

// interrupted is why a module was still trying when something else ended it:
// the error of its last attempt that ended by itself. Empty without one.
func interrupted(n *node) string {
	for _, a := range slices.Backward(n.attempts) {
		if a.Error == "" || a.Status == report.AttemptRunning || a.Status == report.AttemptCancelled {
			continue
		}
		return fmt.Sprintf("attempt %d: %s", a.Number, a.Error)
	}
	return ""
}

// beside joins an error and the earlier one that it interrupted.
func beside(text, before string) string {
	if before == "" {
		return text
	}
	return text + "; before, " + before
}

// endSelf ends a module by its own outcome and settles what follows.
func (r *Run) endSelf(n *node, s report.Status, reason, text string) {
	r.finish(n, s, n.index, reason, text)
	r.settle()
}
