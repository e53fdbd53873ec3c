package progress

import (
	"fmt"
	"io"
	"strings"

	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/report"
)

const (
	tailLines = 20      // of a failed module that are shown again
	tailWidth = 4 << 10 // bytes of each of these lines
)

// tails keeps the last lines of each module's newest attempt, until the module has
// succeeded. It is not safe for concurrent use.
type tails struct{ of map[string]*tail }

type tail struct {
	attempt int
	total   int
	lines   []string // the last tailLines of total
}

func newTails() *tails { return &tails{map[string]*tail{}} }

func (t *tails) event(e report.Event) {
	if e.Event == report.EventModuleOutput {
		t.add(e)
	}
	if e.Event == report.EventModuleEnded && !showsTail(report.Status(e.Status)) && !isInterrupted(report.Status(e.Status), e.Error) {
		delete(t.of, e.Module)
	}
}

func (t *tails) add(e report.Event) {
	m := t.of[e.Module]
	if m == nil || m.attempt != e.Attempt {
		m = &tail{attempt: e.Attempt}
		t.of[e.Module] = m
	}
	text := e.Text
	if len(text) > tailWidth {
		text = strings.ToValidUTF8(text[:tailWidth], "") + "…"
	}
	m.total++
	if len(m.lines) == tailLines {
		copy(m.lines, m.lines[1:])
		m.lines = m.lines[:tailLines-1]
	}
	m.lines = append(m.lines, text)
}

// showsTail reports whether the end of a module is shown again.
func showsTail(status report.Status) bool {
	return status == report.Failed || status == report.TimedOut
}

// isInterrupted reports whether a module was cancelled after a failed attempt. Its error
// is that of the attempt.
func isInterrupted(status report.Status, text string) bool {
	return status == report.Cancelled && text != ""
}

// write shows each failed module with its error and its last lines.
func (t *tails) write(w io.Writer, r *report.Report, paint console.Painter) {
	for i := range r.Modules {
		m := &r.Modules[i]
		if !showsTail(m.Status) && !isInterrupted(m.Status, m.Error) {
			continue
		}
		console.Writef(w, "\n--- %s: %s%s\n", m.Name, paint.Status(string(m.Status), string(m.Status)), tailPlace(m))
		if text := moduleEnd(m); m.Error != "" {
			console.Writef(w, "%s\n", phrase.Indent(text))
		}
		last := t.of[m.Name]
		if last == nil {
			continue
		}
		if last.total > len(last.lines) {
			console.Writef(w, "  … the last %d of %d lines\n", len(last.lines), last.total)
		}
		for _, l := range last.lines {
			console.Writef(w, "  %s\n", l)
		}
	}
}

// tailPlace returns the attempt and its worker.
func tailPlace(m *report.Module) string {
	if len(m.Attempts) == 0 {
		return ""
	}
	last := m.Attempts[len(m.Attempts)-1]
	text := ""
	if last.Number > 1 {
		text += fmt.Sprintf(", attempt %d", last.Number)
	}
	if last.Worker != "" {
		text += " on " + last.Worker
	}
	return text
}
