package main

import "slices"

// The statuses of modules, as reports have them.
const (
	statusSucceeded  = "succeeded"
	statusSkipped    = "skipped"
	statusFailed     = "failed"
	statusTimedOut   = "timed_out"
	statusIgnored    = "ignored_failure"
	statusDependency = "dependency_failed"
	statusCancelled  = "cancelled"
)

// fates are the statuses that each module may end with.
type fates map[string][]string

// fates returns the possible ends of a plan. Faults do not change them. A cancellation
// adds more.
func (p *plan) fates(cancelled bool) fates {
	natural := p.natural()
	all := fates{}
	stops := cancelled || p.failFast && p.failsFrom(natural)
	for i := range p.modules {
		m := &p.modules[i]
		is := natural[m.name]
		may := []string{is}
		switch {
		case m.always && stops: // its needs may end otherwise, but it runs
			may = append(may, m.outcome())
		case cancelled, stops && is != statusFailed && is != statusTimedOut && is != statusDependency:
			may = append(may, statusCancelled)
		}
		all[m.name] = may
	}
	return all
}

// verdicts are the statuses that the run may end with.
func (p *plan) verdicts(cancelled bool) []string {
	natural := statusSucceeded
	if p.failsFrom(p.natural()) {
		natural = statusFailed
	}
	if cancelled {
		return []string{natural, statusCancelled}
	}
	return []string{natural}
}

func (p *plan) failsFrom(natural map[string]string) bool {
	for _, status := range natural {
		if status == statusFailed || status == statusTimedOut {
			return true
		}
	}
	return false
}

// natural returns how the modules end when the run is not stopped.
func (p *plan) natural() map[string]string {
	ends := map[string]string{}
	for i := range p.modules {
		m := &p.modules[i]
		ends[m.name] = m.fate(ends)
	}
	return ends
}

// fate returns how a module ends after its needs.
func (m *module) fate(ends map[string]string) string {
	var all, required []string
	for _, n := range m.needs {
		all = append(all, ends[n.name])
		if !n.optional {
			required = append(required, ends[n.name])
		}
	}
	is := func(s string) bool { return s == statusFailed || s == statusTimedOut || s == statusDependency }
	skipped := func(s string) bool { return s == statusSkipped }
	switch {
	case m.always && len(required) > 0 && !slices.ContainsFunc(all, func(s string) bool { return !skipped(s) }):
		return statusSkipped
	case m.always:
		return m.outcome()
	case slices.ContainsFunc(all, is):
		return statusDependency
	case slices.ContainsFunc(required, skipped):
		return statusSkipped
	}
	return m.outcome()
}

// outcome returns how a module ends that may run.
func (m *module) outcome() string {
	switch {
	case m.design == isSkipped:
		return statusSkipped
	case m.ignore:
		return statusIgnored
	case m.design == fails:
		return statusFailed
	case m.design == timesOut:
		return statusTimedOut
	}
	return statusSucceeded
}
