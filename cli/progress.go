package cli

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// progress shows a run while it goes on, on stderr. Its methods may be called
// from several goroutines.
type progress interface {
	// note says something about the process: where it runs, what it does next.
	note(format string, args ...any)
	event(e report.Event)
	// end shows what is worth seeing again, and the verdict.
	end(r *report.Report)
	// close gives back what was taken: the terminal, temporary files. It comes
	// last, also when there was no end, and may come from another goroutine and
	// more than once.
	close()
	// logger is for what the machinery below has to say.
	logger() *slog.Logger
}

// newProgress is the progress that --progress asks for, of a run of p, which
// is nil when it is not known.
func (a *app) newProgress(p *pipeline.Pipeline) progress {
	var names []string
	if p != nil {
		names = moduleNames(p)
	}
	plain := newPlainProgress(a.Stderr, a.paint(a.Stderr), names)
	switch a.set.progress {
	case "json":
		return newJSONProgress(a.Stderr)
	case "quiet":
		return newQuietProgress(a.Stderr, a.paint(a.Stderr))
	case "tty":
		why := a.canLive(a.Stderr)
		if why == "" {
			return a.liveProgress(p)
		}
		plain.note("no live view, because %s", why)
	case "auto":
		return a.autoProgress(p, plain)
	}
	return plain
}

// autoProgress is the live view on a terminal, and in a
// CI that folds lines, folded ones.
func (a *app) autoProgress(p *pipeline.Pipeline, plain *plainProgress) progress {
	if system, ok := a.ciSystem(); ok {
		ci := newCIProgress(a.Stderr, a.paint(a.Stderr), system)
		if a.env["GITHUB_ACTIONS"] == "true" {
			ci.summary = a.env["GITHUB_STEP_SUMMARY"]
		}
		return ci
	}
	if !a.inCI() && a.canLive(a.Stderr) == "" {
		return a.liveProgress(p)
	}
	return plain
}

func (a *app) liveProgress(p *pipeline.Pipeline) progress {
	return newTTYProgress(a.Stderr.(*os.File), a.Env, a.paint(a.Stderr), p)
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
	return painter(isTerminal(w) && a.env["NO_COLOR"] == "" && a.env["TERM"] != "dumb")
}

// status colours text after a status's word.
func (p painter) status(word, text string) string {
	code := ""
	switch word {
	case "succeeded", "cached":
		code = "32"
	case "failed", "timed_out", "dependency_failed", "lost", string(unreadable):
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
