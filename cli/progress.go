package cli

import (
	"io"
	"log/slog"
	"os"
	"sync"

	"github.com/modpipe/modpipe/internal/console"
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
	switch a.set.Progress {
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

// paint colours what goes to a terminal, unless it or its user cannot see it.
func (a *app) paint(w io.Writer) console.Painter {
	return console.Painter(console.IsTerminal(w) && a.env["NO_COLOR"] == "" && a.env["TERM"] != "dumb")
}
