package schedule

import (
	"slices"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// Deliver asks for the secrets of an attempt that a worker has claimed. Before the
// release is in the log the caller only finds the values, and answers with
// Dispatcher.Release when it has them all. Afterwards it sends them. The action is
// repeated until Dispatcher.Confirmed, or the end of the attempt.
type Deliver struct {
	ID       jobs.AttemptID
	Module   *pipeline.Module
	Claim    jobs.Claim
	Released bool
	Tries    int // how often the same was asked for before
}

func (Deliver) action() {}

const (
	deliverAgain   = 200 * time.Millisecond // after the first delivery, then doubling
	deliverSlowest = 10 * time.Second
)

// delivery is what the dispatcher remembers of the secrets of an attempt.
type delivery struct {
	releasing bool // the record of the release is to be written
	released  bool // it was in the log when tries was last reset
	confirmed bool // the worker has the secrets
	tries     int
	last      time.Time // of the last try
}

// deliver sees to it that a claimed attempt gets its secrets, and returns when to look
// again; zero = when something happens.
func (d *Dispatcher) deliver(n *node, m *memo, now time.Time) time.Time {
	s := &m.secrets
	switch {
	case len(n.module.Secrets) == 0, s.confirmed, s.releasing && !n.released:
		return time.Time{}
	case !jobs.Delivered(n.module.Secrets):
		if s.confirmed = true; !n.released {
			d.recordRelease(n, m)
		}
		return time.Time{}
	case n.claim.XKey == "":
		return time.Time{}
	case n.released && !s.released:
		*s = delivery{released: true}
	}
	due := s.last.Add(backoff(deliverAgain, deliverSlowest, s.tries))
	if s.tries > 0 && now.Before(due) {
		return due
	}
	d.do(Deliver{ID: idOf(n), Module: n.module, Claim: *n.claim, Released: n.released, Tries: s.tries})
	s.tries, s.last = s.tries+1, now
	return now.Add(backoff(deliverAgain, deliverSlowest, s.tries))
}

func idOf(n *node) jobs.AttemptID {
	return jobs.AttemptID{Module: jobs.ModuleID(n.module.Token), Attempt: n.attempt}
}

// recordRelease writes that the attempt has its secrets.
func (d *Dispatcher) recordRelease(n *node, m *memo) {
	m.secrets.releasing = true
	d.control = append(d.control, jobs.Record{Released: &jobs.Released{
		Module: jobs.ModuleID(n.module.Token), Attempt: n.attempt, Worker: n.claim.Worker, Nonce: n.claim.Nonce,
		Names: jobs.SecretNames(n.module.Secrets),
	}})
}

// Release answers Deliver: the caller has all secrets of the attempt that it is to
// send to the holder of the claim with this nonce.
func (d *Dispatcher) Release(id jobs.AttemptID, nonce string) {
	n := d.claimedBy(id, nonce)
	if n == nil || n.released {
		return
	}
	if m := d.memo(n.index); !m.secrets.releasing {
		d.recordRelease(n, m)
	}
}

// Confirmed notes that the holder of the claim with this nonce has its secrets.
func (d *Dispatcher) Confirmed(id jobs.AttemptID, nonce string) {
	if n := d.claimedBy(id, nonce); n != nil && n.released {
		d.memo(n.index).secrets.confirmed = true
	}
}

// claimedBy is the module whose current attempt the delivery with this nonce has
// claimed; nil when there is no such module.
func (d *Dispatcher) claimedBy(id jobs.AttemptID, nonce string) *node {
	i, ok := d.run.byToken[id.Module]
	if !ok {
		return nil
	}
	if n := d.run.nodes[i]; n.claim != nil && n.claim.Nonce == nonce && n.attempt == id.Attempt && n.claim.Attempt == id.Attempt {
		return n
	}
	return nil
}

// applyReleased notes a release. One whose attempt has ended is only told of: nothing
// was sent after it.
func (r *Run) applyReleased(x *jobs.Released) {
	i, ok := r.byToken[x.Module]
	if !ok {
		return
	}
	n := r.nodes[i]
	k := slices.IndexFunc(n.attempts, func(a report.Attempt) bool { return a.Number == int(x.Attempt) })
	if k < 0 {
		return
	}
	n.attempts[k].Secrets = slices.Clone(x.Names)
	if c := n.claim; c != nil && c.Attempt == x.Attempt && c.Nonce == x.Nonce {
		n.released = true
		r.changed = append(r.changed, n.index)
	}
	for _, name := range x.Names {
		r.event(report.Event{Event: report.EventSecretReleased, Module: n.module.Name, Attempt: int(x.Attempt), Worker: x.Worker, Secret: name})
	}
}

// Refuse ends the run before anything of it has begun, for a reason that its author
// or the operator can mend. Call it before the first Decide, for a run that no
// orchestrator has taken over before.
func (d *Dispatcher) Refuse(why string) { d.refusal = why }

// refuse is the only decision about a run that is refused, beside the rejections of
// forged records, which come before every end.
func (d *Dispatcher) refuse() (actions []Action) {
	d.heardControl()
	d.writeControl()
	if len(d.run.forged) == 0 && !d.finishing {
		d.finishing = true
		d.do(Finish{jobs.End{Status: report.RunFailed, Error: d.refusal, Refused: true}})
	}
	actions, d.actions = d.actions, nil
	return actions
}

// endRefused ends the modules of a run that was refused.
func (r *Run) endRefused() {
	for _, n := range r.nodes {
		if !n.status.Terminal() && !n.expanded {
			r.finish(n, report.Cancelled, n.index, "the run did not begin", "")
		}
	}
	r.settle()
}
