package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/modpipe/modpipe/jobs"
)

const (
	tailLines = 20      // of a failed module are shown again
	tailWidth = 4 << 10 // bytes of a line that are kept for that
)

// tails keeps the last lines of each module's newest attempt, until the
// module has ended well. Not safe for concurrent use.
type tails struct{ of map[string]*tail }

type tail struct {
	attempt jobs.Attempt
	total   int
	lines   []string // the last tailLines of total
}

func newTails() *tails { return &tails{map[string]*tail{}} }

func (t *tails) event(e jobs.Event) {
	if e.Event == jobs.EventModuleOutput {
		t.add(e)
	}
	if e.Event == jobs.EventModuleEnded && !showsTail(e.Status) && !isInterrupted(e.Status, e.Error) {
		delete(t.of, e.Module)
	}
}

func (t *tails) add(e jobs.Event) {
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
func showsTail(status string) bool {
	return status == jobs.Failed.String() || status == jobs.TimedOut.String()
}

// isInterrupted reports whether a module was cancelled after an attempt of it
// had failed: its error says why it was still trying.
func isInterrupted(status, text string) bool {
	return status == jobs.Cancelled.String() && text != ""
}

// write shows each failed module with its error and its last lines.
func (t *tails) write(w io.Writer, r *jobs.Report, paint painter) {
	for i := range r.Modules {
		m := &r.Modules[i]
		if !showsTail(m.Status) && !isInterrupted(m.Status, m.Error) {
			continue
		}
		writef(w, "\n--- %s: %s%s\n", m.Name, paint.status(m.Status, m.Status), tailPlace(m))
		if text := moduleEnd(m); m.Error != "" {
			writef(w, "%s\n", below(text))
		}
		last := t.of[m.Name]
		if last == nil {
			continue
		}
		if last.total > len(last.lines) {
			writef(w, "  … the last %d of %d lines\n", len(last.lines), last.total)
		}
		for _, l := range last.lines {
			writef(w, "  %s\n", l)
		}
	}
}

// tailPlace says which attempt it was, and where.
func tailPlace(m *jobs.ModuleReport) string {
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
