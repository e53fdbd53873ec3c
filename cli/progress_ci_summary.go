package cli

import (
	"strings"

	"github.com/modpipe/modpipe/internal/safetext"
	"github.com/modpipe/modpipe/report"
)

const (
	summaryBytes = 900 << 10 // GitHub takes 1 MiB a step
	summaryTails = 10        // failed modules whose last lines are shown
)

// stepSummary is a report in GitHub's Markdown.
func stepSummary(r *report.Report, t *tails) string {
	var b strings.Builder
	writef(&b, "### %s: run %s %s in %s\n\n", safetext.Markdown(r.Pipeline), safetext.Markdown(string(r.Run)), r.Status, seconds(r.Duration))
	if r.Error != "" {
		writef(&b, "%s\n\n", safetext.Markdown(firstLine(r.Error, 300)))
	}
	writef(&b, "%s: %s\n\n", count(len(r.Modules), "module"), totalsText(r))
	for _, w := range r.Warnings {
		writef(&b, "> warning: %s\n\n", safetext.Markdown(w))
	}
	g := summaryGrid(r)
	row := func(cells []string) { writef(&b, "| %s |\n", strings.Join(cells, " | ")) }
	row(g.head)
	row([]string{"---", "---", "---:", "---:", "---", "---"})
	for i, cells := range g.rows {
		if b.Len() > summaryBytes*2/3 {
			writef(&b, "\n… and %s\n", count(len(g.rows)-i, "more row"))
			break
		}
		escaped := make([]string, len(cells))
		for k, c := range cells {
			escaped[k] = safetext.Markdown(c)
		}
		row(escaped)
	}
	summaryFailures(&b, r, t)
	return b.String() + "\n"
}

// summaryFailures shows the last lines of what failed, unfolded.
func summaryFailures(b *strings.Builder, r *report.Report, t *tails) {
	shown := 0
	for i := range r.Modules {
		m := &r.Modules[i]
		last := t.of[m.Name]
		if !showsTail(m.Status) || last == nil || shown == summaryTails {
			continue
		}
		shown++
		text := safetext.Fenced(strings.Join(last.lines, "\n"))
		if b.Len()+len(text) > summaryBytes {
			return
		}
		writef(b, "\n#### %s: %s%s\n\n%s\n", safetext.Markdown(m.Name), m.Status, safetext.Markdown(tailPlace(m)), text)
	}
}
