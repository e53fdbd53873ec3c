package schedule

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// largeOutput is the size up to which a report contains an output itself.
const largeOutput = 64 << 10

// Report is the report of the run as it is now. Outputs that the log holds by reference
// are asked of outputs, by module; it may be nil. Those that stay unreadable
// (jobs.ErrMalformed, jobs.ErrTooLarge, jobs.ErrNewer) are left out, with a
// warning.
func (r *Run) Report(outputs func(jobs.Value) (map[string]string, error)) (*report.Report, error) {
	rep := &report.Report{
		Version: 1, Run: string(r.spec.Run), Pipeline: r.pipeline.Name, Status: report.RunRunning,
		Started: &r.started, Params: r.pipeline.ParamValues(), Labels: r.spec.Labels,
		StartedBy: r.spec.StartedBy, Commit: r.spec.Commit, Workers: []string{},
	}
	if s := r.spec.Workspace; s != nil {
		rep.Dirty = s.Dirty
	}
	if rep.Labels == nil {
		rep.Labels = map[string]string{}
	}
	until := r.now
	if r.end != nil {
		rep.Status, rep.Error, rep.Finished = r.end.Status, r.end.Error, &r.finished
		until = r.finished
	}
	rep.Duration = until.Sub(r.started).Seconds()
	for _, n := range r.inOrder() {
		m, err := r.moduleReport(n, outputs)
		warnings := n.warnings
		switch {
		case errors.Is(err, jobs.ErrMalformed), errors.Is(err, jobs.ErrTooLarge), errors.Is(err, jobs.ErrNewer):
			warnings = append(slices.Clone(warnings), "its outputs cannot be read: "+err.Error())
		case err != nil:
			return nil, err
		}
		rep.Modules = append(rep.Modules, m)
		for _, w := range warnings {
			rep.Warnings = append(rep.Warnings, n.module.Name+": "+w)
		}
		for _, a := range n.attempts {
			if a.Worker != "" && !slices.Contains(rep.Workers, a.Worker) {
				rep.Workers = append(rep.Workers, a.Worker)
			}
		}
	}
	rep.Warnings = append(rep.Warnings, r.warnings...)
	slices.Sort(rep.Workers)
	return rep, nil
}

// inOrder lists the nodes in the order of the file, members in their family's place.
func (r *Run) inOrder() []*node {
	nodes := make([]*node, 0, len(r.nodes))
	for _, n := range r.nodes {
		if !n.expanded {
			nodes = append(nodes, n)
		}
	}
	slices.SortStableFunc(nodes, func(a, b *node) int {
		return cmp.Or(cmp.Compare(a.order[0], b.order[0]), cmp.Compare(a.order[1], b.order[1]))
	})
	return nodes
}

func (r *Run) moduleReport(n *node, outputs func(jobs.Value) (map[string]string, error)) (report.Module, error) {
	m := report.Module{
		Name: n.module.Name, Family: n.module.Family, Matrix: map[string]string{}, Status: n.status,
		Reason: n.reason, Error: n.err, Priority: n.module.Policy.Priority.String(),
		Queued: set(n.queued), Started: set(n.begun), Finished: set(n.ended),
		Outputs: map[string]any{}, Artifacts: []report.Artifact{}, Attempts: n.attempts, NoWorker: n.noWorker, Flaky: n.flaky,
	}
	if c := n.cached; c != nil {
		m.Cached = &report.CachedFrom{
			Fingerprint: c.Fingerprint, Namespace: c.Namespace, Run: string(c.Run), Module: c.Module,
			Attempt: int(c.Attempt), By: c.By, When: c.When,
		}
	}
	if m.Attempts == nil {
		m.Attempts = []report.Attempt{}
	}
	for _, p := range n.module.Matrix {
		m.Matrix[p.Axis] = p.Value
	}
	if !n.begun.IsZero() {
		m.Wait = max(0, n.begun.Sub(n.queued).Seconds())
		if !n.ended.IsZero() {
			m.Duration = max(0, n.ended.Sub(n.begun).Seconds())
		}
	}
	for _, a := range n.artifacts {
		m.Artifacts = append(m.Artifacts, report.Artifact{Name: a.Name, Files: a.Tree.Files, Bytes: a.Tree.Bytes, SHA256: a.Tree.Root})
	}
	m.Result = resultValue(n.outputs)
	read := jobs.Value.Outputs
	if n.outputs.ByRef() && n.outputs.Kind == jobs.OutputsValue && outputs != nil {
		read = outputs
	}
	values, err := read(n.outputs)
	if err != nil {
		return m, err
	}
	for k, v := range values {
		m.Outputs[k] = outputValue(v)
	}
	return m, nil
}

// resultValue is what a Go function has returned, as a report shows it.
func resultValue(v jobs.Value) any {
	if v.Kind == jobs.ResultValue && v.ByRef() {
		return report.LargeOutput{Bytes: v.Ref.Bytes, SHA256: v.Ref.SHA256}
	}
	result, err := v.Result()
	if err != nil {
		return nil // it was written by this module's own worker: what reads it will say so
	}
	return pipeline.Exact(result)
}

// Artifacts yields the modules that have left artifacts, in the order of the file.
func (r *Run) Artifacts() iter.Seq2[*pipeline.Module, []jobs.Artifact] {
	return func(yield func(*pipeline.Module, []jobs.Artifact) bool) {
		for _, n := range r.inOrder() {
			if len(n.artifacts) > 0 && !yield(n.module, n.artifacts) {
				return
			}
		}
	}
}

// Outputs is what a module has set or returned, by its name.
func (r *Run) Outputs(name string) jobs.Value {
	if i, ok := r.byName[name]; ok {
		return r.nodes[i].outputs
	}
	return jobs.Value{}
}

func set(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func outputValue(v string) any {
	if len(v) <= largeOutput {
		return v
	}
	sum := sha256.Sum256([]byte(v))
	return report.LargeOutput{Bytes: int64(len(v)), SHA256: hex.EncodeToString(sum[:])}
}

// Needs is how the direct needs of a module ended, by their declared names.
// It is never changed.
func (r *Run) Needs(i int) map[string]jobs.Need {
	n := r.nodes[i]
	return n.group.once(&n.group.ended, func() map[string]jobs.Need { return r.endedAs(n, pipeline.Waits) })
}

// Told is what the job of a module says of its needs: everything to a
// command; to a Go function no more than it asks for, so that what comes
// after hundreds, or hears how thousands have ended, is not sent their
// results. It is never changed.
func (r *Run) Told(i int) map[string]jobs.Need {
	n := r.nodes[i]
	if n.module.Func == nil || n.module.Command != nil {
		return r.Needs(i)
	}
	return n.group.once(&n.group.told, func() map[string]jobs.Need { return r.endedAs(n, pipeline.Hears) })
}

// told is Told, and to a cached command no more than its texts read: its result may
// depend on nothing else.
func (r *Run) told(n *node) map[string]jobs.Need {
	needs := r.Told(n.index)
	if n.module.Cache == nil || n.module.Command == nil {
		return needs
	}
	var read map[string]jobs.Need
	for _, name := range n.module.TextReads() {
		if need, ok := needs[name]; ok {
			if read == nil {
				read = map[string]jobs.Need{}
			}
			read[name] = need
		}
	}
	return read
}

// once is what f makes, kept for the other members when all needs have ended.
func (g *group) once(kept *map[string]jobs.Need, f func() map[string]jobs.Need) map[string]jobs.Need {
	if *kept != nil {
		return *kept
	}
	needs := f()
	if g.open == 0 && len(g.members) > 1 {
		*kept = needs
	}
	return needs
}

// endedAs is how those needs of n ended of which least is made or more;
// results go to those that hear, and do not read them, only with Waits.
func (r *Run) endedAs(n *node, least pipeline.Use) map[string]jobs.Need {
	var needs map[string]jobs.Need
	for _, need := range n.module.Needs {
		if need.Use < least {
			continue
		}
		ended, ok := r.need(n, need)
		if !ok {
			continue
		}
		if least == pipeline.Hears && need.Use < pipeline.Reads {
			ended.Outputs, ended.Members = jobs.Value{}, nil
		}
		if needs == nil {
			needs = make(map[string]jobs.Need, len(n.module.Needs))
		}
		needs[need.Module] = ended
	}
	return needs
}

func (r *Run) need(n *node, need pipeline.Need) (jobs.Need, bool) {
	if _, family := r.families[need.Module]; family {
		return r.familyNeed(pipeline.Resolve(n.module, need, r.modules, r.byName, r.families)), true
	}
	t, ok := r.byName[need.Module]
	if !ok {
		return jobs.Need{}, false
	}
	v := r.nodes[t]
	return jobs.Need{Status: v.status, Reason: v.why(), Outputs: v.outputs}, true
}

func (n *node) why() string {
	if n.reason != "" {
		return n.reason
	}
	return n.err
}

// familyNeed is the members' ends as one need's.
func (r *Run) familyNeed(targets []int) jobs.Need {
	need := jobs.Need{Status: report.Succeeded, Family: true, Members: []jobs.Member{}}
	worst := -1
	for _, t := range targets {
		n := r.nodes[t]
		if worst < 0 || n.status.Outranks(r.nodes[worst].status) {
			worst = t
		}
		if n.module.Dynamic == nil {
			need.Members = append(need.Members, jobs.Member{Matrix: n.module.Matrix, Status: n.status, Outputs: n.outputs})
		}
	}
	if worst >= 0 {
		need.Status, need.Reason = r.nodes[worst].status, r.nodes[worst].why()
	}
	return need
}
