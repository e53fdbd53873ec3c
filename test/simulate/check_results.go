package simulate

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// closedByCondition checks that the status of a module that ends without an
// attempt follows from its condition.
func (c *checks) closedByCondition(w *world, t *truth, id jobs.RunID, e *jobs.Entry) {
	o, m := e.Record.Outcome, t.modules[e.Cell]
	if m == nil || m.Dynamic != nil || o.Attempt != 0 || w.server.lost {
		return
	}
	holds, err := t.condition(w, m)
	switch {
	case o.Status == report.AttemptSkipped && (holds || err != nil):
		w.fail("%s in %s is skipped, but its condition (%s) gives %v, %v", m.Name, id, m.If, holds, err)
	case strings.HasPrefix(o.Error, "if: ") && err == nil:
		w.fail("%s in %s fails because of its condition (%s), which can be evaluated: %s", m.Name, id, m.If, o.Error)
	}
}

// expanded checks that a family has a member for each element of the list that it
// reads.
func (c *checks) expanded(w *world, t *truth, id jobs.RunID, x *jobs.Expansion) {
	m := t.expanding
	if m == nil || w.server.lost {
		return
	}
	var want []string
	if v, err := w.server.load(t.values[m.Dynamic.Reads[0]]); err != nil {
		w.fail("%s in %s is expanded, but its list cannot be read: %v", m.Name, id, err)
	} else {
		want = listIn(v)
	}
	var have []string
	for _, pairs := range x.Combinations {
		have = append(have, pairs[0].Value)
	}
	if !slices.Equal(want, have) {
		w.fail("%s in %s has the members %v, want %v as in its list", m.Name, id, have, want)
	}
}

// asDeclared checks that the condition of an execution holds, and that its job has
// the results of its needs as in the log.
func (c *checks) asDeclared(w *world, t *truth, x *task, m *pipeline.Module) {
	if w.server.lost { // a need may have been executed again, with another result
		return
	}
	j := x.Job()
	if holds, err := t.condition(w, m); !holds && j.Attempt == 1 {
		w.fail("%s starts, but its condition (%s) gives %v, %v", x, m.If, holds, err)
	}
	for name, need := range j.Needs {
		if _, expanded := t.families[name]; expanded || need.Family {
			continue
		}
		if have := t.state.StatusOf(name); need.Status != have || !reflect.DeepEqual(need.Outputs, t.values[name]) {
			w.fail("the job of %s has the need %s as %s with %v, want %s with %v as in the log", x, name, need.Status, need.Outputs, have, t.values[name])
		}
	}
	r, reads := t.readings[t.declared(m)]
	if !reads || !r.text {
		return
	}
	word, err := t.word(w, r)
	if have := fmt.Sprint(j.Command.Args); err != nil || have != fmt.Sprint([]string{"echo", word}) {
		w.fail("%s executes %s; the value that it reads is %q, %v", x, have, word, err)
	}
}

// expand replaces a family by its members. It keeps the family for the checks of
// the expansion.
func (t *truth) expand(x *jobs.Expansion) {
	t.expanding = t.modules[x.Module]
	if t.expanding == nil || t.state.StatusOf(t.expanding.Name).Terminal() { // its list is empty, or it had ended
		return
	}
	members, err := t.spec.Pipeline.Members(t.expanding, x.Combinations)
	if err != nil {
		return // the fold has reported this
	}
	delete(t.modules, x.Module)
	for _, m := range members {
		t.modules[jobs.ModuleID(m.Token)], t.known[jobs.ModuleID(m.Token)] = m, m
		t.families[t.expanding.Name] = append(t.families[t.expanding.Name], m.Name)
	}
}

// statuses returns the status of a module, or those of an expanded family's
// members.
func (t *truth) statuses(name string) []report.Status {
	members, expanded := t.families[name]
	if !expanded {
		return []report.Status{t.state.StatusOf(name)}
	}
	var list []report.Status
	for _, m := range members {
		list = append(list, t.state.StatusOf(m))
	}
	return list
}

// unexpanded returns the possible statuses of a family without members.
func (t *truth) unexpanded(w *world, m *pipeline.Module) []report.Status {
	v, err := w.server.load(t.values[m.Dynamic.Reads[0]])
	if err != nil {
		return []report.Status{report.Failed}
	}
	if len(listIn(v)) > 0 {
		return nil
	}
	return []report.Status{report.Skipped}
}

// listIn returns the list that a module has returned, or nil.
func listIn(v jobs.Value) (list []string) {
	result, _ := v.Result()
	items, _ := result.([]any)
	for _, item := range items {
		list = append(list, fmt.Sprint(item))
	}
	return list
}
