package simulate

import (
	"maps"
	"reflect"
	"slices"

	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// atTheEnd checks the final state of a world.
func (c *checks) atTheEnd(w *world) {
	c.left(w)
	c.viewersAtTheEnd(w)
	for _, r := range w.runs {
		if r.gone {
			continue
		}
		c.replay(w, r)
		if r.deserted {
			continue
		}
		c.statuses(w, r)
		if r.truth.ended != 1 {
			w.fail("%s has ended %d times", r.id, r.truth.ended)
		}
	}
}

// replay checks that the same entries give the same run.
func (c *checks) replay(w *world, r *run) {
	again, err := schedule.Load(w.server.logs[r.id].seenBy(w.allSecrets()).all(), nil)
	if err != nil {
		w.fail("the log of %s does not fold: %v", r.id, err)
		return
	}
	a, errA := r.truth.state.Report(nil)
	b, errB := again.Report(nil)
	if errA != nil || errB != nil || !reflect.DeepEqual(a, b) {
		w.fail("a second fold of the log of %s gives another run", r.id)
	}
}

// statuses checks that every module has ended in a status that the table of fates
// allows for the statuses of its needs.
func (c *checks) statuses(w *world, r *run) {
	tokens := slices.Sorted(maps.Keys(r.truth.modules))
	for _, token := range tokens {
		m := r.truth.modules[token]
		if s := r.truth.state.StatusOf(m.Name); !slices.Contains(c.allowed(w, r, m), s) {
			w.fail("%s in %s ended %s; the table of fates says one of %v", m.Name, r.id, s, c.allowed(w, r, m))
		}
	}
}

// allowed is a second, independent version of the table of fates.
func (c *checks) allowed(w *world, r *run, m *pipeline.Module) []report.Status {
	all := c.allowedBy(w, r, m, m.Needs)
	if m.Dynamic == nil {
		return all
	}
	// The needs that its axes read decide the status of a family. Once the run is
	// stopped, all needs decide it.
	reads := slices.DeleteFunc(slices.Clone(m.Needs), func(n pipeline.Need) bool { return !slices.Contains(m.Dynamic.Reads, n.Module) })
	return append(all, c.allowedBy(w, r, m, reads)...)
}

func (c *checks) allowedBy(w *world, r *run, m *pipeline.Module, needs []pipeline.Need) []report.Status {
	t := &r.truth
	if m.Unselected {
		return []report.Status{report.Skipped}
	}
	bad, cancelled, skipped, allSkipped, required := false, false, false, true, false
	for _, n := range needs {
		for _, s := range t.statuses(n.Module) {
			bad = bad || s.Bad()
			cancelled = cancelled || s == report.Cancelled
			skipped = skipped || (s == report.Skipped && !n.Optional)
			allSkipped = allSkipped && s == report.Skipped
			required = required || !n.Optional
		}
	}
	stopped := c.cancelled(w, t, r.id)
	if m.Policy.AlwaysRun {
		if len(needs) > 0 && allSkipped && required {
			return []report.Status{report.Skipped}
		}
		stopped = stopped && t.cancels > 1
	} else {
		switch {
		case bad:
			return []report.Status{report.DependencyFailed}
		case cancelled:
			return []report.Status{report.Cancelled}
		case skipped:
			return []report.Status{report.Skipped}
		}
		stopped = stopped || !t.spec.Pipeline.FailSlow
	}
	return own(w, t, m, stopped || w.server.lost) // a cancellation may be lost after a worker has obeyed it
}

// own returns the possible statuses of a module that its needs allow to run.
func own(w *world, t *truth, m *pipeline.Module, stopped bool) []report.Status {
	list := []report.Status{report.Succeeded, report.Failed, report.TimedOut}
	if m.Cache != nil && !t.spec.Cache.Off {
		list = append(list, report.Cached)
	}
	holds, err := t.condition(w, m)
	switch {
	case w.server.lost && (m.Dynamic != nil || t.readings[t.declared(m)].want != ""):
		list = append(list, report.Skipped) // the values that it read may have been lost since
	case m.Dynamic != nil:
		list = t.unexpanded(w, m)
	case err != nil:
		list = []report.Status{report.Failed}
	case !holds:
		list = []report.Status{report.Skipped, report.Failed}
	}
	if m.Policy.IgnoreFailure {
		list = slices.DeleteFunc(list, func(s report.Status) bool { return s == report.Failed || s == report.TimedOut })
		list = append(list, report.IgnoredFailure)
	}
	if stopped {
		list = append(list, report.Cancelled)
	}
	return list
}
