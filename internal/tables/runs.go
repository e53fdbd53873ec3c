package tables

import (
	"io"
	"slices"
	"strings"
	"time"

	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/progress"
	"github.com/modpipe/modpipe/report"
)

// runColumns are the columns of the list of runs.
func runColumns() []runColumn {
	return []runColumn{
		{"RUN", func(r report.Run) string { return r.Run }},
		{"PIPELINE", func(r report.Run) string { return r.Pipeline }},
		{statusHead, func(r report.Run) string { return string(r.Status) }},
		{"STARTED", func(r report.Run) string { return r.Started.Local().Format(time.DateTime) }},
		{"DURATION", func(r report.Run) string { return phrase.Seconds(r.Duration) }},
		{"LABELS", func(r report.Run) string { return phrase.Labels(r.Labels) }},
	}
}

// problemColumn is shown when an orchestrator cannot handle one of the runs.
func problemColumn() runColumn {
	return runColumn{problemHead, func(r report.Run) string { return strings.Join(strings.Fields(r.Error), " ") }}
}

type runColumn struct {
	head string
	cell func(report.Run) string
}

const (
	statusHead  = "STATUS"  // has the colours of statuses
	problemHead = "PROBLEM" // only runs that no orchestrator can handle have a cell in it
)

// WriteRuns writes the table of `runs list`.
func WriteRuns(w io.Writer, rows []report.Run, paint console.Painter) {
	columns := runColumns()
	if slices.ContainsFunc(rows, hasProblem) {
		columns = append(columns, problemColumn())
	}
	g := console.Table{Tint: func(column int, cell, padded string) string {
		if columns[column].head == statusHead {
			return paint.Status(cell, padded)
		}
		return padded
	}}
	for _, c := range columns {
		g.Head = append(g.Head, c.head)
	}
	for _, r := range rows {
		var cells []string
		for _, c := range columns {
			if c.head != problemHead || hasProblem(r) {
				cells = append(cells, c.cell(r))
			}
		}
		g.Add(cells...)
	}
	g.Write(w)
}

// hasProblem reports whether no orchestrator can handle a run: it is unreadable, or the
// orchestrators that serve do not have its key.
func hasProblem(r report.Run) bool {
	return r.Status == report.RunUnreadable || r.Status == report.RunRunning && r.Error != ""
}

// commitText names the commit of a run, and says that its files were others.
func commitText(r *report.Report) string {
	if r.Dirty {
		return r.Commit + ", and changes that are not committed"
	}
	return r.Commit
}

// WriteReport writes a report, made safe by package shown, for people.
func WriteReport(w io.Writer, r *report.Report, paint console.Painter) {
	line := func(what, text string) {
		if text != "" {
			console.Writef(w, "%-12s%s\n", what, phrase.Indent(text))
		}
	}
	line("run", r.Run)
	line("pipeline", r.Pipeline)
	line("status", paint.Status(string(r.Status), string(r.Status)))
	line("error", r.Error)
	if r.Started != nil {
		line("started", r.Started.Local().Format(time.DateTime))
	}
	line("duration", phrase.Seconds(r.Duration))
	line("by", r.StartedBy)
	line("commit", commitText(r))
	line("labels", phrase.Labels(r.Labels))
	line("workers", strings.Join(r.Workers, ", "))
	console.Writeln(w)
	progress.WriteSummary(w, r, paint)
}
