package progress

import (
	"strings"

	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/phrase"
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
	console.Writef(&b, "### %s: run %s %s in %s\n\n", safetext.Markdown(r.Pipeline), safetext.Markdown(r.Run), r.Status, phrase.Seconds(r.Duration))
	if r.Error != "" {
		console.Writef(&b, "%s\n\n", safetext.Markdown(phrase.FirstLine(r.Error, 300)))
	}
	console.Writef(&b, "%s: %s\n\n", phrase.Count(len(r.Modules), "module"), totalsText(r))
	for _, w := range r.Warnings {
		console.Writef(&b, "> warning: %s\n\n", safetext.Markdown(w))
	}
	g := summaryGrid(r)
	row := func(cells []string) { console.Writef(&b, "| %s |\n", strings.Join(cells, " | ")) }
	row(g.Head)
	row([]string{"---", "---", "---:", "---:", "---", "---"})
	for i, cells := range g.Rows {
		if b.Len() > summaryBytes*2/3 {
			console.Writef(&b, "\n… and %s\n", phrase.Count(len(g.Rows)-i, "more row"))
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

// summaryFailures shows the last lines of failed modules, unfolded.
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
		console.Writef(b, "\n#### %s: %s%s\n\n%s\n", safetext.Markdown(m.Name), m.Status, safetext.Markdown(tailPlace(m)), text)
	}
}
