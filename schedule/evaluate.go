package schedule

import (
	"fmt"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// Fetch loads what the module's condition, its axes or its texts read: values that
// the log holds by reference, and the list of the files of the run's snapshot.
// Answer with Dispatcher.Fetched.
type Fetch struct {
	Node     int
	Refs     []Ref
	Snapshot bool // the caller sets HashFiles, once the list has been loaded

	// HashFiles is pipeline.Scope.HashFiles.
	HashFiles func(globs []string) (string, error)

	attempt jobs.Attempt
	purpose purpose
}

// Ref is a value that is kept by reference.
type Ref struct {
	Need  string // whose value it is, for messages
	Value jobs.Value
}

func (Fetch) action() {}

// Unread is the error of a value that cannot be loaded.
func (r Ref) Unread(err error) error { return unread(r.Need, r.Value, err) }

func unread(need string, v jobs.Value, err error) error {
	what := "outputs"
	if v.Kind == jobs.ResultValue {
		what = "result"
	}
	return fmt.Errorf("fetch the %s of %s: %w", what, need, err)
}

// purpose is what a module needs values for.
type purpose uint8

const (
	forCondition purpose = iota // whether it runs
	forExpansion                // which members a family has
	forJob                      // the job of an attempt
	forLookup                   // the same, to look its result up
)

// evaluate does what purpose says, or first fetches the values for it.
func (d *Dispatcher) evaluate(n *node, p purpose) {
	f := Fetch{Node: n.index, Refs: d.run.refs(n, p), Snapshot: d.run.readsSnapshot(n, p), attempt: n.attempt, purpose: p}
	if len(f.Refs) == 0 && !f.Snapshot {
		d.evaluated(n, f, nil, nil)
		return
	}
	if p != forLookup {
		d.memo(n.index).fetching = p == forJob
	}
	d.do(f)
}

// readsSnapshot reports whether a module reads the list of the files of the run's
// snapshot. Without a snapshot, reading it is an error of the expression.
func (r *Run) readsSnapshot(n *node, p purpose) bool {
	texts := p == forJob || p == forLookup
	return texts && r.spec.Workspace != nil && (len(n.module.Late) > 0 || n.module.Cache != nil) && n.module.HashesFiles()
}

// Fetched answers Fetch: the values of its references, in their order and
// inline, or why they cannot be had. Nothing keeps them after the call.
func (d *Dispatcher) Fetched(f Fetch, values []jobs.Value, err error) {
	n := d.run.nodes[f.Node]
	if !d.awaits(n, f) {
		return
	}
	if f.purpose != forLookup { // which may go on beside a publication
		d.memo(n.index).fetching = false
	}
	loaded := make(map[string]jobs.Value, len(values))
	for i, v := range values {
		loaded[f.Refs[i].Value.Ref.SHA256] = v
	}
	d.evaluated(n, f, loaded, err)
}

// awaits reports whether n still needs what was fetched.
func (d *Dispatcher) awaits(n *node, f Fetch) bool {
	m := d.memo(n.index)
	switch {
	case n.status.Terminal() || n.expanded:
		return false
	case f.purpose == forCondition:
		return m.condition == conditionAsked
	case f.purpose == forExpansion:
		return true
	case f.purpose == forLookup:
		return n.attempt == f.attempt && m.cache == cacheAsked
	case n.attempt != f.attempt || !m.fetching:
		return false
	}
	if m.closing || n.claim != nil || d.run.stopped(n) != "" {
		m.fetching, m.published = false, false // if the attempt stays open, its job is published after all
		return false
	}
	return true
}

// evaluated does what the purpose of f says with the values that were fetched for it.
func (d *Dispatcher) evaluated(n *node, f Fetch, loaded map[string]jobs.Value, err error) {
	var s pipeline.Scope
	if err == nil && (f.purpose == forCondition || f.purpose == forExpansion || !n.module.Static() || len(n.module.Late) > 0) {
		s, err = d.run.scope(n, loaded)
		s.HashFiles = f.HashFiles
	}
	switch f.purpose {
	case forCondition:
		d.decideCondition(n, s, err)
	case forExpansion:
		d.expand(n, s, err)
	case forJob:
		d.publishJob(n, s, err)
	case forLookup:
		d.askCache(n, s, err)
	}
}

// decideCondition closes a module whose condition is false or cannot be evaluated.
func (d *Dispatcher) decideCondition(n *node, s pipeline.Scope, err error) {
	m := d.memo(n.index)
	holds := false
	if err == nil {
		holds, err = d.run.pipeline.Condition(n.module, s)
	}
	m.condition = conditionFalse
	switch {
	case err != nil:
		d.closeWithout(n, jobs.Outcome{Status: report.AttemptFailed, Error: "if: " + err.Error()})
	case !holds:
		d.closeWithout(n, jobs.Outcome{Status: report.AttemptSkipped, Reason: "its condition is false: " + n.module.If})
	default:
		m.condition = conditionTrue
		d.run.changed = append(d.run.changed, n.index)
	}
}

// expand records the members of a family.
func (d *Dispatcher) expand(n *node, s pipeline.Scope, err error) {
	var combinations [][]pipeline.Coordinate
	if err == nil {
		combinations, err = d.run.pipeline.Combinations(n.module, s)
	}
	if err != nil {
		d.closeWithout(n, jobs.Outcome{Status: report.AttemptFailed, Error: "matrix: " + err.Error()})
		return
	}
	d.control = append(d.control, jobs.Record{Expansion: &jobs.Expansion{Module: jobs.ModuleID(n.module.Token), Combinations: combinations}})
}

// refs are the values kept by reference that a module reads for a purpose.
func (r *Run) refs(n *node, p purpose) []Ref {
	reads := readsFor(n.module, p)
	if len(reads) == 0 {
		return nil
	}
	var refs []Ref
	known := map[string]bool{"": true}
	add := func(need string, v jobs.Value) {
		if sum := v.Ref.SHA256; !known[sum] {
			known[sum] = true
			refs = append(refs, Ref{need, v})
		}
	}
	needs := r.Needs(n.index)
	for _, name := range reads {
		need := needs[name]
		add(name, need.Outputs)
		for _, member := range need.Members {
			if member.Outputs.Kind == jobs.OutputsValue { // expressions do not read the results of members
				add(name, member.Outputs)
			}
		}
	}
	return refs
}

// readsFor are the direct needs whose values a module reads for a purpose.
func readsFor(m *pipeline.Module, p purpose) []string {
	switch p {
	case forCondition:
		return m.ConditionReads()
	case forExpansion:
		return m.Dynamic.Reads
	case forJob, forLookup:
	}
	return m.TextReads()
}

// scope is what the expressions of a module may read. A value by reference is
// empty unless it was loaded: then no expression reads it.
func (r *Run) scope(n *node, loaded map[string]jobs.Value) (pipeline.Scope, error) {
	needs := r.Needs(n.index)
	s := pipeline.Scope{Needs: make(map[string]pipeline.NeedView, len(needs))}
	for name, need := range needs {
		v := pipeline.NeedView{Status: string(need.Status), Reason: need.Reason}
		value := inline(need.Outputs, loaded)
		var err error
		if v.Outputs, err = value.Outputs(); err != nil {
			return s, unread(name, value, err)
		}
		if v.Result, err = value.Result(); err != nil {
			return s, unread(name, value, err)
		}
		for _, m := range need.Members {
			view := pipeline.MemberView{Matrix: m.Matrix, Status: string(m.Status)}
			if view.Outputs, err = inline(m.Outputs, loaded).Outputs(); err != nil {
				return s, unread(name, m.Outputs, err)
			}
			v.Members = append(v.Members, view)
		}
		s.Needs[name] = v
	}
	return s, nil
}

// inline is a value, or what was loaded for it.
func inline(v jobs.Value, loaded map[string]jobs.Value) jobs.Value {
	if l, ok := loaded[v.Ref.SHA256]; ok && v.ByRef() {
		return l
	}
	return v
}
