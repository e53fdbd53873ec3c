package report_test

import (
	"slices"
	"testing"

	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// TestTransitions: nothing leaves a terminal status, every other one can
// still end, and every status can be reached from Waiting.
func TestTransitions(t *testing.T) {
	reached := map[report.Status]bool{report.Waiting: true}
	for work := []report.Status{report.Waiting}; len(work) > 0; work = work[1:] {
		for _, to := range report.Statuses() {
			if work[0].CanBecome(to) && !reached[to] {
				reached[to] = true
				work = append(work, to)
			}
		}
	}
	for _, s := range report.Statuses() {
		if !reached[s] {
			t.Errorf("%s cannot be reached", s)
		}
		ends := slices.ContainsFunc(report.Statuses(), func(to report.Status) bool { return s.CanBecome(to) && to.Terminal() })
		if s.Terminal() == ends {
			t.Errorf("%s: terminal %t, but it can end: %t", s, s.Terminal(), ends)
		}
	}
}

// TestOutranksOrdersTerminalStatuses: of two statuses exactly one outranks the
// other, unless both are equal or not terminal.
func TestOutranksOrdersTerminalStatuses(t *testing.T) {
	for _, a := range report.Statuses() {
		for _, b := range report.Statuses() {
			ordered := a != b && (a.Terminal() || b.Terminal())
			if one := a.Outranks(b) != b.Outranks(a); one != ordered || a.Outranks(a) {
				t.Errorf("%s outranks %s: %t, the reverse: %t", a, b, a.Outranks(b), b.Outranks(a))
			}
		}
	}
}

// TestExpressionsKnowTheTerminalStatuses: these are the words with which an
// expression may compare.
func TestExpressionsKnowTheTerminalStatuses(t *testing.T) {
	var terminal []string
	for _, s := range report.Statuses() {
		if s.Terminal() {
			terminal = append(terminal, string(s))
		}
	}
	if words := pipeline.Statuses(); !slices.Equal(words, terminal) {
		t.Errorf("expressions know %v, modules end as %v", words, terminal)
	}
}
