package shown

import (
	"maps"
	"slices"

	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/safetext"
	"github.com/modpipe/modpipe/report"
)

// Event is an event as people are shown it: none of its text commands a
// terminal or a CI system, and names are one line.
func Event(e report.Event) report.Event {
	e.Module, e.Worker, e.Pipeline = safetext.Line(e.Module), safetext.Line(e.Worker), safetext.Line(e.Pipeline)
	e.Run, e.Status = safetext.Line(e.Run), safetext.Line(e.Status)
	e.Missing, e.Closest = safetext.Line(e.Missing), safetext.Line(e.Closest)
	e.Reason, e.Error = safetext.Text(e.Reason), safetext.Text(e.Error)
	e.Text = safetext.Output(e.Text)
	return e
}

// Report is a report as people are shown it.
func Report(r *report.Report) *report.Report {
	shown := *r
	shown.Run, shown.Status = safetext.Line(r.Run), report.RunStatus(safetext.Line(string(r.Status)))
	shown.Pipeline, shown.StartedBy, shown.Commit = safetext.Line(r.Pipeline), safetext.Line(r.StartedBy), safetext.Line(r.Commit)
	shown.Error, shown.Labels = safetext.Text(r.Error), shownLabels(r.Labels)
	shown.Warnings, shown.Workers = phrase.Each(r.Warnings, safetext.Text), phrase.Each(r.Workers, safetext.Line)
	shown.Modules = slices.Clone(r.Modules)
	for i := range shown.Modules {
		shownModule(&shown.Modules[i])
	}
	return &shown
}

func shownModule(m *report.Module) {
	m.Name, m.Status = safetext.Line(m.Name), report.Status(safetext.Line(string(m.Status)))
	m.Reason, m.Error = safetext.Text(m.Reason), safetext.Text(m.Error)
	m.Attempts = slices.Clone(m.Attempts)
	for i := range m.Attempts {
		a := &m.Attempts[i]
		a.Worker, a.Error = safetext.Line(a.Worker), safetext.Text(a.Error)
	}
}

func shownLabels(labels map[string]string) map[string]string {
	shown := make(map[string]string, len(labels))
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		shown[safetext.Line(k)] = safetext.Line(labels[k])
	}
	return shown
}
