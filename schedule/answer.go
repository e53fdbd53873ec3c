package schedule

import (
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// Probe asks the worker of a claim whether it still runs the attempt.
type Probe struct {
	Worker string
	Probe  jobs.Probe
}

func (Probe) action() {}

// unlistedAfter is how many heartbeats in a row do not name an attempt before
// its worker is asked. A question is safe at any time; waiting saves some.
const unlistedAfter = 2

// probe asks a worker about an attempt that its heartbeats do not name. A
// server that lost the last part of its log brings back the claim of an attempt
// whose outcome is lost: its worker lives and does not run it any more.
func (d *Dispatcher) probe(n *node, m *memo, now time.Time) {
	seen, named, known := d.fleet.heartbeat(d.run.spec.Run, jobs.ModuleID(n.module.Token), n.claim)
	switch {
	case named || !known:
		m.unlisted = 0
		return
	case seen.After(m.listedAt):
		m.listedAt = seen
		m.unlisted++
	}
	if m.unlisted < unlistedAfter || now.Sub(m.probed) < askEvery && !m.probed.IsZero() {
		return
	}
	m.probed = now
	d.do(d.run.probe(n))
}

func (r *Run) probe(n *node) Probe {
	return Probe{Worker: n.claim.Worker, Probe: jobs.Probe{
		Run: r.spec.Run, Module: jobs.ModuleID(n.module.Token), Attempt: n.attempt,
		Incarnation: n.claim.Incarnation, Nonce: n.claim.Nonce, Sequence: n.cell,
	}}
}

// Unlisted is the question to the worker of an attempt whose heartbeats do not
// name it; false when they do, or nothing is known of the worker.
func (r *Run) Unlisted(id jobs.AttemptID, f *Fleet) (Probe, bool) {
	i, ok := r.byToken[id.Module]
	if !ok || r.nodes[i].claim == nil || r.nodes[i].attempt != id.Attempt {
		return Probe{}, false
	}
	if _, named, known := f.heartbeat(r.spec.Run, id.Module, r.nodes[i].claim); named || !known {
		return Probe{}, false
	}
	return r.probe(r.nodes[i]), true
}

// Answer answers a worker's question from the log. It reports false when that
// cannot be done yet: the fold has not reached what the worker has read, the
// attempt is being closed, or it has a key and has to be left alone. The worker
// asks again.
func (d *Dispatcher) Answer(q *jobs.Question, now time.Time) (jobs.Answer, bool) {
	r := d.run
	if r.seen < q.Sequence || r.provisional {
		return jobs.Answer{}, false
	}
	a := jobs.Answer{ID: q.ID, State: jobs.StandsClosed, Epoch: d.fencing}
	i, ok := r.byToken[q.Module]
	if !ok || r.end != nil {
		return a, true
	}
	n := r.nodes[i]
	switch {
	case n.status == report.Waiting || n.status.Terminal() || n.expanded || n.attempt != q.Attempt:
	case n.claim != nil && n.claim.Nonce == q.Nonce && n.claim.Worker == q.Worker:
		a.State, a.Claim, a.Last = jobs.StandsYours, n.token, n.cell
	case n.claim != nil:
		a.State = jobs.StandsTaken
	case r.needsGrant(n) && !n.granted:
	case n.retryAt.After(now) || // the outcome before it was lost and came again, with its own delay
		d.untouchable(n, now) || d.memo(i).closing || !d.locked(n):
		return jobs.Answer{}, false
	default:
		a.State, a.Last = jobs.StandsOpen, n.cell
	}
	return a, true
}
