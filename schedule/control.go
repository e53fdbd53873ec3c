package schedule

import (
	"slices"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// heardControl notes that the record written last has arrived, or that of
// another orchestrator in its place.
func (d *Dispatcher) heardControl() {
	if !d.writing || d.run.ctl == d.controlAt {
		return
	}
	d.writing, d.tickAt = false, atOnce
	d.shadow = holdings{}
	for _, i := range d.grantees() {
		n, m := d.run.nodes[i], d.memo(i)
		if n.granted || n.status.Terminal() {
			continue
		}
		d.unassign(m)
		d.enqueue(i)
	}
	clear(d.granting)
	d.unblock()
}

func (d *Dispatcher) grantees() []int {
	list := make([]int, 0, len(d.granting))
	for i := range d.granting {
		list = append(list, i)
	}
	slices.Sort(list)
	return list
}

// writeControl writes one record to the control subject, when none is under
// way: what waits to be written, else a grant for all that it can serve.
func (d *Dispatcher) writeControl() {
	if d.writing {
		return
	}
	var rec jobs.Record
	switch {
	case len(d.run.forged) > 0:
		rec.Rejected = d.run.reject()
	case len(d.granting) > 0:
		grant := &jobs.Grant{}
		for _, i := range d.grantees() {
			n := d.run.nodes[i]
			grant.Attempts = append(grant.Attempts, jobs.AttemptID{Module: jobs.ModuleID(n.module.Token), Attempt: n.attempt})
		}
		rec.Grant = grant
	case len(d.control) > 0:
		rec = d.control[0]
		d.control = d.control[1:]
	default:
		return
	}
	d.writing, d.controlAt, d.nobodyWriting, d.cache.noting = true, d.run.ctl, "", rec.Note != nil
	if rec.Nobody != nil {
		d.nobodyWriting = rec.Nobody.Lane
	}
	d.do(Write{Expect: d.run.ctl, Record: rec})
}

// Prepared answers Prepare: the lanes' bucket has the lane at this revision.
func (d *Dispatcher) Prepared(name jobs.Lane, revision uint64) {
	l := d.lanes[name]
	l.prepared, l.revision = true, revision
	d.refreshLane(l)
	d.measureLanes()
}

// Unpublished answers Publish: the job cannot be made (err; the module fails),
// or (until is set) its publication was not answered and is not repeated
// before that time, by which the server refuses to store it unseen.
func (d *Dispatcher) Unpublished(node int, id jobs.AttemptID, until time.Time, err error) {
	n, m := d.run.nodes[node], d.memo(node)
	if n.status.Terminal() || !m.published || n.attempt != id.Attempt {
		return
	}
	if err != nil {
		d.closeWithout(n, jobs.Outcome{Status: report.AttemptFailed, Error: err.Error()})
		return
	}
	m.uncertain = until
}

// Missing answers Audit: the job is not in the queue.
func (d *Dispatcher) Missing(id jobs.AttemptID) {
	n := d.run.nodes[d.run.byToken[id.Module]]
	m := d.memo(n.index)
	if n.status.Terminal() || n.claim != nil || n.attempt != id.Attempt || !m.published || m.closing {
		return
	}
	m.republish, m.published = true, false
	d.unassign(m) // else it would wait for the slots that it is thought to take
	d.run.changed = append(d.run.changed, n.index)
}

// closeWithout ends a module that has no attempt.
func (d *Dispatcher) closeWithout(n *node, o jobs.Outcome) { d.close(n, o, false) }

// close records an outcome for n in the worker's place, once at a time.
func (d *Dispatcher) close(n *node, o jobs.Outcome, purge bool) {
	m := d.memo(n.index)
	if m.closing {
		return
	}
	m.closing, m.closingAt = true, n.cell
	c := Close{Cell: jobs.ModuleID(n.module.Token), Expect: n.cell, Outcome: o, Lane: n.lane}
	if purge {
		c.Purge = &jobs.AttemptID{Module: jobs.ModuleID(n.module.Token), Attempt: n.attempt}
	}
	d.do(c)
}

// atOnce makes the next tick due at any time of the clock.
var atOnce = time.Unix(0, 0)

// refreshLanes recomputes which workers serve which lane when the fleet has
// changed.
func (d *Dispatcher) refreshLanes() {
	if d.fleetAt == d.fleet.version {
		return
	}
	d.fleetAt = d.fleet.version
	for _, l := range d.sorted {
		d.refreshLane(l)
	}
	d.measureLanes()
	d.tickAt = atOnce
}

func (d *Dispatcher) refreshLane(l *lane) {
	if l.prepared {
		l.capable, l.undecided = d.fleet.capable(l.set, l.revision)
	}
	d.tickAt = atOnce
}

// checkNobody records when a lane that is wanted has lost its last capable
// worker, or has one again.
func (d *Dispatcher) checkNobody(l *lane) {
	_, known := d.run.nobody[l.name]
	if !l.prepared || !l.wanted || !d.fleet.synced || l.undecided || known == (len(l.capable) == 0) {
		return
	}
	if d.controlPending(l.name) {
		return
	}
	rec := &jobs.LaneUnserved{Lane: l.name, Served: known}
	if !known {
		rec.Missing, rec.Closest = d.fleet.lack(l.set)
		rec.Final = d.fleet.hopeless(l.set)
	}
	d.control = append(d.control, jobs.Record{Nobody: rec})
}

func (d *Dispatcher) controlPending(name jobs.Lane) bool {
	for _, rec := range d.control {
		if rec.Nobody != nil && rec.Nobody.Lane == name {
			return true
		}
	}
	return d.writing && d.nobodyWriting == name
}
