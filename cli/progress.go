package cli

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/term"

	"github.com/modpipe/modpipe/jobs"
)

// progress shows a run while it goes on, on stderr. Its methods may be called
// from several goroutines.
type progress interface {
	// note says something about the process: where it runs, what it does next.
	note(format string, args ...any)
	event(e jobs.Event)
	// end shows what is worth seeing again, and the verdict.
	end(r *jobs.Report)
	// logger is for what the machinery below has to say.
	logger() *slog.Logger
}

// newProgress is the progress that --progress asks for. names are the
// modules' names, as far as they are known, for the width of a column.
func (a *app) newProgress(names []string) progress {
	switch a.set.progress {
	case "json":
		return newJSONProgress(a.Stderr)
	case "quiet":
		return &quietProgress{tails: newTails(), out: &lockedWriter{w: a.Stderr}, paint: a.paint(a.Stderr)}
	}
	return newPlainProgress(a.Stderr, a.paint(a.Stderr), names)
}

// lockedWriter makes each Write one uninterrupted piece.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer // guarded by mu
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// painter colours words, or leaves them alone.
type painter bool

// paint colours what goes to a terminal, unless it or its user cannot see it.
func (a *app) paint(w io.Writer) painter {
	f, ok := w.(*os.File)
	return painter(ok && term.IsTerminal(int(f.Fd())) && a.env["NO_COLOR"] == "" && a.env["TERM"] != "dumb")
}

// status colours text after a status's word.
func (p painter) status(word, text string) string {
	code := ""
	switch word {
	case "succeeded", "cached":
		code = "32"
	case "failed", "timed_out", "dependency_failed", "lost":
		code = "31"
	case "cancelled", "ignored_failure", "retrying", "waiting":
		code = "33"
	case "skipped", "started", "ready":
		code = "90"
	}
	if !bool(p) || code == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func newLogger(w io.Writer, p painter, level slog.Level) *slog.Logger {
	return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: !bool(p)}))
}

// seconds is a duration for people: 12.3s, 4m05s, 1h02m.
func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", s)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}
