package cli

import (
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/settings"
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

// progressConfig says how and where a run is shown.
type progressConfig struct {
	format  string // of --progress
	out     io.Writer
	paint   console.Painter
	env     settings.Environment
	environ []string // env as KEY=VALUE
}

// estimator is a progress that shows how long modules will take.
type estimator interface {
	estimates(took map[string]time.Duration)
}

// newProgress is the progress that --progress asks for, of a run of p, which
// is nil when it is not known.
func newProgress(c progressConfig, p *pipeline.Pipeline) progress {
	var names []string
	if p != nil {
		names = moduleNames(p)
	}
	plain := newPlainProgress(c.out, c.paint, names)
	switch c.format {
	case "json":
		return newJSONProgress(c.out)
	case "quiet":
		return newQuietProgress(c.out, c.paint)
	case "tty":
		why := c.canLive(c.out)
		if why == "" {
			return c.liveProgress(p)
		}
		plain.note("no live view, because %s", why)
	case "auto":
		return c.autoProgress(p, plain)
	}
	return plain
}

// autoProgress is the live view on a terminal, and in a
// CI that folds lines, folded ones.
func (c *progressConfig) autoProgress(p *pipeline.Pipeline, plain *plainProgress) progress {
	if system, ok := c.ciSystem(); ok {
		ci := newCIProgress(c.out, c.paint, system)
		if c.env["GITHUB_ACTIONS"] == "true" {
			ci.summary = c.env["GITHUB_STEP_SUMMARY"]
		}
		return ci
	}
	if !c.inCI() && c.canLive(c.out) == "" {
		return c.liveProgress(p)
	}
	return plain
}

func (c *progressConfig) liveProgress(p *pipeline.Pipeline) progress {
	return newTTYProgress(c.out.(*os.File), c.environ, c.paint, p)
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
