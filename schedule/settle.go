package schedule

import "github.com/modpipe/modpipe/report"

// settle decides the fate of every node on the work list, and of what depends
// on those that end by it, until nothing changes.
func (r *Run) settle() {
	for len(r.settled) > 0 {
		last := len(r.settled) - 1
		n := r.nodes[r.settled[last]]
		r.settled = r.settled[:last]
		if n.status == report.Waiting && !n.expanded {
			r.decideFate(n)
		}
	}
}

// decideFate looks at how the needs of a waiting node ended.
func (r *Run) decideFate(n *node) {
	dynamic := n.module.Dynamic != nil
	why := r.stopped(n)
	if n.group.open > 0 && !dynamic && !r.hasBadNeed(n) {
		return
	}
	needs, targets := r.endedNeeds(n, dynamic && why == "")
	f, i := fateOf(needs, n.module.Policy.AlwaysRun)
	switch f {
	case undecided:
	case dependencyFails:
		r.finishBy(n, report.DependencyFailed, targets[i])
	case cancels:
		r.finishBy(n, report.Cancelled, targets[i])
	case skips:
		r.finishBy(n, report.Skipped, targets[i])
	case runs:
		if why != "" {
			r.finish(n, report.Cancelled, n.index, why, "")
			return
		}
		r.release(n)
	}
}

// hasBadNeed spares modules with many needs the whole table for each end.
func (r *Run) hasBadNeed(n *node) bool {
	if n.module.Policy.AlwaysRun {
		return false
	}
	for _, e := range n.group.edges {
		if r.nodes[e.target].status.Bad() {
			return true
		}
	}
	return false
}

func (r *Run) endedNeeds(n *node, readsOnly bool) ([]ended, []int) {
	needs, targets := make([]ended, 0, len(n.group.edges)), make([]int, 0, len(n.group.edges))
	for _, e := range n.group.edges {
		if readsOnly && !e.reads {
			continue
		}
		needs = append(needs, ended{r.nodes[e.target].status, e.optional})
		targets = append(targets, int(e.target))
	}
	return needs, targets
}

// release lets a node run: a module becomes ready, a family waits to be expanded.
func (r *Run) release(n *node) {
	n.since = r.now
	r.changed = append(r.changed, n.index)
	if n.module.Dynamic != nil {
		return
	}
	r.become(n, report.Ready)
	n.queued = r.now
	r.event(report.Event{Event: report.EventModuleReady, Module: n.module.Name})
	if x, ok := r.reusable(n); ok {
		r.reuse(n, x)
		return
	}
	r.sayWaiting(n)
}

// finishBy ends n because of how a need ended; reasons name the root.
func (r *Run) finishBy(n *node, s report.Status, need int) {
	root := r.nodes[r.nodes[need].root]
	name := root.module.Name
	switch s {
	case report.DependencyFailed:
		reason := name + " " + failedHow(root)
		text := reason
		if line := firstLine(root.err); line != "" {
			text += ": " + line
		}
		r.finish(n, s, root.index, reason, text)
	case report.Skipped:
		reason := name + " was skipped"
		if root.reason != "" {
			reason += ": " + root.reason
		}
		r.finish(n, s, root.index, reason, "")
	default:
		reason := r.stopped(n)
		if reason == "" {
			reason = name + " was cancelled"
		}
		r.finish(n, s, root.index, reason, "")
	}
}

// finish gives n its terminal status and has what depends on it looked at.
func (r *Run) finish(n *node, s report.Status, root int, reason, text string) {
	ignored := n.module.Policy.IgnoreFailure && (!n.module.Policy.IgnoreIf || n.ignorable)
	if ignored && (s == report.Failed || s == report.TimedOut) {
		s = report.IgnoredFailure
	}
	r.become(n, s)
	n.root, n.reason, n.err, n.ended = root, reason, text, r.now
	r.countOff(n)
	r.changed = append(r.changed, n.index)
	r.emitEnded(n)
	for _, g := range n.dependents {
		g.open--
		if g.open > 0 && !s.Bad() && r.modules[g.members[0]].Dynamic == nil {
			continue
		}
		for _, d := range g.members {
			r.settled = append(r.settled, int(d))
		}
	}
	n.dependents = nil
	if (s == report.Failed || s == report.TimedOut) && !r.pipeline.FailSlow && r.failed == nil {
		r.failed = n
		r.stop()
	}
}

// become is the only place that assigns a status.
func (r *Run) become(n *node, s report.Status) {
	if n.status == s {
		return
	}
	if !n.status.CanBecome(s) {
		panic("schedule: " + n.module.Name + " cannot go from " + string(n.status) + " to " + string(s))
	}
	n.status = s
}

func (r *Run) emitEnded(n *node) {
	if r.emit == nil {
		return
	}
	e := report.Event{Event: report.EventModuleEnded, Module: n.module.Name, Status: string(n.status), Reason: n.reason, Error: n.err}
	var duration float64
	if !n.begun.IsZero() {
		duration = max(0, n.ended.Sub(n.begun).Seconds())
	}
	e.Duration = &duration
	if k := len(n.attempts); k > 0 {
		last := n.attempts[k-1]
		e.Attempt, e.Worker, e.ExitCode = last.Number, last.Worker, last.ExitCode
	}
	r.event(e)
}
