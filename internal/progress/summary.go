package progress

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/report"
)

// foldAbove is the number of modules of one status that the table shows one by one.
const foldAbove = 50

// notSelected is the reason of a module that was not selected.
const notSelected = "not selected"

// summaryOrder is the order of the statuses in the totals.
func summaryOrder() []report.Status {
	return []report.Status{
		report.Succeeded, report.Cached, report.Failed, report.TimedOut, report.IgnoredFailure, report.DependencyFailed,
		report.Cancelled, report.Skipped, report.Running, report.Retrying, report.Ready, report.Waiting,
	}
}

// WriteSummary writes the table of modules, the totals and the verdict.
func WriteSummary(w io.Writer, r *report.Report, paint console.Painter) {
	writeModules(w, r, paint)
	console.Writeln(w)
	writeVerdict(w, r, paint)
}

func writeModules(w io.Writer, r *report.Report, paint console.Painter) {
	g := summaryGrid(r)
	g.Tint = func(column int, cell, padded string) string {
		if column == 1 {
			return paint.Status(cell, padded)
		}
		return padded
	}
	g.Write(w)
}

// summaryGrid returns a row for each module, or for a group with the same end.
func summaryGrid(r *report.Report) console.Table {
	g := console.Table{Head: []string{"MODULE", "STATUS", "DURATION", "ATTEMPTS", "WORKER", "REASON"}}
	sizes := map[string]int{}
	for i := range r.Modules {
		sizes[foldGroup(&r.Modules[i])]++
	}
	folded := map[string]bool{}
	for i := range r.Modules {
		m := &r.Modules[i]
		group := foldGroup(m)
		switch {
		case !folds(group, sizes[group]):
			g.Add(summaryRow(m)...)
		case !folded[group]:
			folded[group] = true
			reason := ""
			if group == notSelected {
				reason = notSelected
			}
			g.Add(fmt.Sprintf("(%s)", phrase.Count(sizes[group], "module")), string(m.Status), "-", "-", "-", reason)
		}
	}
	return g
}

// folds reports whether one row represents a group of modules.
func folds(group string, size int) bool {
	return group == notSelected && size > 1 || group != "" && size > foldAbove
}

// foldGroup names the row that may represent m; "" = m always has a row.
func foldGroup(m *report.Module) string {
	if isUnselected(m) {
		return notSelected
	}
	switch m.Status {
	case report.Failed, report.TimedOut, report.IgnoredFailure, report.Running, report.Retrying:
		return ""
	default:
		return string(m.Status)
	}
}

func isUnselected(m *report.Module) bool {
	return m.Status == report.Skipped && strings.HasPrefix(m.Reason, notSelected)
}

func tally(r *report.Report) (totals map[report.Status]int, unselected int) {
	totals = map[report.Status]int{}
	for i := range r.Modules {
		totals[r.Modules[i].Status]++
		if isUnselected(&r.Modules[i]) {
			unselected++
		}
	}
	return totals, unselected
}

func summaryRow(m *report.Module) []string {
	worker, attempts, duration := "-", "-", "-"
	if n := len(m.Attempts); n > 0 {
		worker, attempts = phrase.OrDash(m.Attempts[n-1].Worker), strconv.Itoa(n)
	}
	if m.Started != nil {
		duration = phrase.Seconds(m.Duration)
	}
	return []string{m.Name, string(m.Status), duration, attempts, worker, phrase.FirstLine(moduleEnd(m), 120)}
}

// moduleEnd returns why a module ended. For a module that was cancelled during a retry,
// it adds the error of the earlier attempt.
func moduleEnd(m *report.Module) string {
	if isInterrupted(m.Status, m.Error) && m.Reason != "" {
		return m.Reason + "; " + m.Error
	}
	return cmp.Or(m.Error, m.Reason)
}

// totalsText returns the number of modules of each status.
func totalsText(r *report.Report) string {
	totals, unselected := tally(r)
	var parts []string
	for _, status := range summaryOrder() {
		n := totals[status]
		if n == 0 {
			continue
		}
		text := fmt.Sprintf("%d %s", n, status)
		if status == report.Skipped && unselected > 0 {
			text += fmt.Sprintf(" (%d not selected)", unselected)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

func writeVerdict(w io.Writer, r *report.Report, paint console.Painter) {
	for _, warning := range r.Warnings {
		console.Writef(w, "warning: %s\n", phrase.Indent(warning))
	}
	console.Writef(w, "%s: %s\n", phrase.Count(len(r.Modules), "module"), totalsText(r))
	verdict := fmt.Sprintf("run %s %s", r.Run, paint.Status(string(r.Status), string(r.Status)))
	if r.Status != report.RunRunning {
		verdict += " in " + phrase.Seconds(r.Duration)
	}
	if r.Error != "" {
		verdict += ": " + phrase.Indent(r.Error)
	}
	console.Writeln(w, verdict)
}
