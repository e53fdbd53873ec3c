package schedule

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// ErrCorrupt says that the log holds a record outside the modules' cells which
// the rules of writing do not allow. Nothing decides for such a run any more.
var ErrCorrupt = errors.New("the log of the run is corrupt")

// Run is the state of a run: the fold over the entries of its log.
type Run struct {
	spec     *jobs.Spec
	pipeline *pipeline.Pipeline
	started  time.Time
	finished time.Time
	now      time.Time // of the entry that is being applied

	nodes    []*node
	modules  []*pipeline.Module // of nodes, by the same index
	byName   map[string]int
	byToken  map[jobs.ModuleID]int
	families map[string][]int
	groups   map[list]*group           // by the needs that the nodes of a group share
	kept     map[string]jobs.Kept      // by name: modules that an earlier run has done
	keyed    bool                      // every module needs a grant, since one of them runs alone
	live     int                       // nodes without a terminal status
	urgency  map[pipeline.Priority]int // of those nodes: how many have a priority

	seen      uint64 // last sequence that was folded
	ctl       uint64 // last sequence of the control subject
	cancelSeq uint64 // last sequence of the cancel subject
	epoch     uint64
	signedBy  string // id of the secret that signs its records
	nobody    map[jobs.Lane]jobs.LaneUnserved
	nobodyAt  map[jobs.Lane]time.Time
	waitsSaid map[jobs.Lane]int

	failed  *node // whose failure stopped the run (fail-fast)
	cancel  *jobs.Cancel
	kill    bool // a second cancellation
	tooLate map[string]bool
	end     *jobs.End

	held     holdings // by attempts that were granted them
	released int      // grows whenever keys are given back

	skipped  bool                  // the newest entry is noise
	noisy    map[jobs.ModuleID]int // records that were skipped, by cell
	noise    []Noise               // that was not fetched
	warnings []string              // about cells that are no module's
	forged   []uint64              // sequences of records that are to be rejected, ascending

	provisional bool  // it has records of which this reader does not know whether they are forged
	doubt       error // why the log seems to be corrupt, unless one of those is forged

	changed   []int                    // nodes of which the dispatcher has not heard yet
	settled   []int                    // work list of settle
	estimates map[string]time.Duration // by module name, from earlier runs
	emit      func(report.Event)
	emitted   uint64 // events so far: the fold numbers them, so that all readers agree
}

// node is a module of the run, or a family that is not expanded.
type node struct {
	index    int
	module   *pipeline.Module
	lane     jobs.Lane
	order    [2]int // place in the file, number in the family
	status   report.Status
	expanded bool // a family's placeholder whose members have taken its place

	group      *group   // it, and those that need the same
	dependents []*group // that need it; one entry an edge

	attempt  jobs.Attempt // the current one: open, or the next to be published
	ran      int          // attempts that ran to an end
	losses   []string     // workers lost under it
	unable   []refusal    // by machines that could not begin it
	cell     uint64       // last sequence of its cell, of noise too
	claim    *jobs.Claim  // of the current attempt
	claimed  time.Time    // when the claim was stored
	token    uint64       // sequence of the claim: the fencing token
	granted  bool         // the current attempt holds its keys and limits
	released bool         // the release of the secrets of the claim is in the log
	since    time.Time    // when the current attempt could first be published
	retryAt  time.Time    // not before
	attempts []report.Attempt

	outputs   jobs.Value
	expired   bool            // artifacts are not stored any more
	artifacts []jobs.Artifact // of its last attempt
	queued    time.Time       // when it became ready first
	begun     time.Time
	ended     time.Time
	reason    string
	err       string
	root      int // the node whose end decided this one's; its own index otherwise
	noWorker  bool
	// ignorable: the last outcome says that its failure may be ignored.
	ignorable bool
	warnings  []string
	last      *jobs.Outcome // of the newest attempt that was closed; of a module with a cache only
	lastEpoch uint64        // of the takeover before last
	cached    *jobs.Cached  // where its result comes from
	flaky     bool          // it has failed and succeeded with one fingerprint
	path      time.Duration // longest remaining path, its own duration included
}

// Load folds a log from its beginning, without the records that it rejects. emit
// hears the run's events as they are folded; it may be nil.
func Load(entries []jobs.Entry, emit func(report.Event)) (*Run, error) {
	r := &Run{emit: emit}
	var known Rejections
	known.Learn(entries)
	for _, e := range entries {
		known.Mark(&e)
		if err := r.Apply(e); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// NewRun is a run before its first entry. emit hears the run's events as
// entries are applied; it may be nil.
func NewRun(emit func(report.Event)) *Run { return &Run{emit: emit} }

// Apply takes the next entry of the log. Errors are ErrCorrupt, or why the
// specification cannot be read; the Run is of no use afterwards.
func (r *Run) Apply(e jobs.Entry) error {
	r.now, r.seen, r.skipped = e.Time, e.Sequence, false
	if r.spec == nil {
		if e.Unread != nil {
			return e.Unread
		}
		if e.Record.Spec == nil {
			return fmt.Errorf("%w: it does not begin with a specification", ErrCorrupt)
		}
		r.begin(e.Record.Spec)
		return nil
	}
	rec := e.Record
	switch {
	case e.Cell != "":
		r.applyCell(e)
	case e.Cancels:
		r.cancelSeq = e.Sequence
		r.skip(e, nil, "a cancellation that cannot be read: "+e.Unread.Error())
	case e.Unread != nil, rec.Spec != nil:
		r.skip(e, nil, "a second specification")
	case rec.Takeover != nil:
		r.ctl, r.epoch = e.Sequence, rec.Takeover.Epoch
		if r.signedBy == "" {
			r.signedBy = rec.Takeover.Key
		}
	case rec.Rejected != nil:
		r.ctl = e.Sequence
		r.applyRejected(rec.Rejected)
	case rec.Grant != nil:
		r.ctl = e.Sequence
		return r.applyGrant(rec.Grant)
	case rec.Expansion != nil:
		r.ctl = e.Sequence
		return r.applyExpansion(rec.Expansion)
	case rec.Nobody != nil:
		r.ctl = e.Sequence
		r.applyNobody(rec.Nobody)
	case rec.Note != nil:
		r.ctl = e.Sequence
		r.applyNote(rec.Note)
	case rec.Released != nil:
		r.ctl = e.Sequence
		r.applyReleased(rec.Released)
	case rec.Cancel != nil:
		r.cancelSeq = e.Sequence
		r.applyCancel(rec.Cancel)
	case rec.End != nil:
		r.applyEnd(rec.End)
		return r.doubt
	default:
		return fmt.Errorf("%w: entry %d is empty", ErrCorrupt, e.Sequence)
	}
	return nil
}

func (r *Run) begin(spec *jobs.Spec) {
	r.spec, r.pipeline, r.started = spec, spec.Pipeline, r.now
	size := len(r.pipeline.Modules)
	r.byName, r.byToken = make(map[string]int, size), make(map[jobs.ModuleID]int, size)
	r.nodes, r.modules = make([]*node, 0, size), make([]*pipeline.Module, 0, size)
	r.families, r.groups = map[string][]int{}, map[list]*group{}
	r.nobody, r.nobodyAt, r.waitsSaid = map[jobs.Lane]jobs.LaneUnserved{}, map[jobs.Lane]time.Time{}, map[jobs.Lane]int{}
	r.tooLate, r.urgency = map[string]bool{}, map[pipeline.Priority]int{}
	r.kept = make(map[string]jobs.Kept, len(spec.Kept))
	for _, k := range spec.Kept {
		r.kept[k.Module] = k
	}
	for i, m := range r.pipeline.Modules {
		r.keyed = r.keyed || m.Policy.Exclusive
		r.add(m, [2]int{i, 0})
	}
	maps.Copy(r.families, r.pipeline.Families)
	r.event(report.Event{Event: report.EventRunStarted, Pipeline: r.pipeline.Name, Modules: len(r.nodes)})
	for _, n := range r.nodes {
		r.join(n)
	}
	r.computePaths(nil)
	for _, n := range r.nodes {
		if n.module.Unselected {
			r.finish(n, report.Skipped, n.index, notSelected, "")
		}
	}
	r.settled = slices.Grow(r.settled, size)
	for _, n := range r.nodes {
		r.settled = append(r.settled, n.index)
	}
	r.settle()
}

const notSelected = "not selected"

func (r *Run) add(m *pipeline.Module, order [2]int) *node {
	if r.spec.Repository != "" {
		c := *m
		c.Requires.Repository = r.spec.Repository
		m = &c
	}
	n := &node{index: len(r.nodes), module: m, order: order, attempt: 1, status: report.Waiting, root: len(r.nodes)}
	if m.Dynamic == nil {
		n.lane = jobs.LaneOf(m.Requires, m.Slots)
	}
	r.nodes, r.modules = append(r.nodes, n), append(r.modules, m)
	r.byName[m.Name], r.byToken[jobs.ModuleID(m.Token)] = n.index, n.index
	r.live++
	r.urgency[m.Policy.Priority]++
	return n
}

// countOff counts off a node that has its terminal status, or was expanded.
func (r *Run) countOff(n *node) {
	r.live--
	r.urgency[n.module.Policy.Priority]--
}

// moreUrgent reports whether a module of a higher priority than n's has not
// ended. n is not published ahead of a free slot then: the other one may
// become ready while n's job waits, and is to have the slot.
func (r *Run) moreUrgent(n *node) bool {
	for p, left := range r.urgency {
		if left > 0 && p > n.module.Policy.Priority {
			return true
		}
	}
	return false
}

// lessUrgent reports whether a module of a lower priority than n's has not ended.
func (r *Run) lessUrgent(n *node) bool {
	for p, left := range r.urgency {
		if left > 0 && p < n.module.Policy.Priority {
			return true
		}
	}
	return false
}

// stopped says why n is not to run any more: empty while it may.
func (r *Run) stopped(n *node) string {
	always := n.module.Policy.AlwaysRun
	switch {
	case r.cancel != nil && (!always || r.kill):
		return "the run was cancelled: " + r.cancel.Reason
	case r.failed != nil && !always:
		return r.failed.module.Name + " " + failedHow(r.failed) + " (fail-fast)"
	}
	return ""
}

func failedHow(n *node) string {
	if n.status == report.TimedOut {
		return "timed out"
	}
	return "failed"
}

func (r *Run) applyCancel(c *jobs.Cancel) {
	switch {
	case r.live == 0 || r.end != nil:
		r.tooLate[c.ID] = true
		return
	case r.cancel != nil:
		r.kill = r.kill || !c.Deadline
	default:
		r.cancel = c
	}
	r.stop()
}

// stop has every node looked at again after the run was told to stop.
func (r *Run) stop() {
	for _, n := range r.nodes {
		if n.status.Terminal() || n.expanded {
			continue
		}
		if n.status == report.Waiting {
			r.settled = append(r.settled, n.index)
		}
		r.changed = append(r.changed, n.index)
	}
	r.settle()
}

func (r *Run) applyEnd(end *jobs.End) {
	if end.Refused {
		r.endRefused()
	}
	r.end, r.finished = end, r.now
	duration := r.finished.Sub(r.started).Seconds()
	r.event(report.Event{Event: report.EventRunEnded, Status: string(end.Status), Error: end.Error, Duration: &duration})
}

func (r *Run) applyNobody(n *jobs.LaneUnserved) {
	if n.Served {
		delete(r.nobody, n.Lane)
		delete(r.nobodyAt, n.Lane)
		r.waitsSaid[n.Lane] = 0
		return
	}
	r.nobody[n.Lane], r.nobodyAt[n.Lane] = *n, r.now
	for _, m := range r.nodes {
		if m.lane == n.Lane && m.status == report.Ready {
			r.sayWaiting(m)
		}
	}
}

// maxWaitsSaid bounds the events about modules that wait on a lane without workers.
const maxWaitsSaid = 10

func (r *Run) sayWaiting(n *node) {
	lack, ok := r.nobody[n.lane]
	if !ok || r.waitsSaid[n.lane] >= maxWaitsSaid {
		return
	}
	r.waitsSaid[n.lane]++
	e := report.Event{Event: report.EventWaiting, Module: n.module.Name, Missing: lack.Missing, Closest: lack.Closest}
	if !lack.Final {
		until := latest(n.since, r.nobodyAt[n.lane]).Add(n.module.Policy.QueueTimeout)
		e.Until = &until
	}
	r.event(e)
}

func (r *Run) event(e report.Event) {
	if r.emit == nil {
		return
	}
	e.V, e.Run = 1, string(r.spec.Run)
	r.emitted++
	e.Seq = r.emitted
	if e.Time.IsZero() {
		e.Time = r.now
	}
	r.emit(e)
}
