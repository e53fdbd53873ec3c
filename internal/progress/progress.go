package progress

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

// Progress shows a run while it goes on, on stderr. Its methods may be called
// from several goroutines.
type Progress interface {
	// note says something about the process: where it runs, what it does next.
	Note(format string, args ...any)
	Event(e report.Event)
	// end shows what is worth seeing again, and the verdict.
	End(r *report.Report)
	// close gives back what was taken: the terminal, temporary files. It comes
	// last, also when there was no end, and may come from another goroutine and
	// more than once.
	Close()
	// logger is for what the machinery below has to say.
	Logger() *slog.Logger
}

// Config says how and where a run is shown.
type Config struct {
	Format  string // of --progress
	Out     io.Writer
	Paint   console.Painter
	Env     settings.Environment
	Environ []string // env as KEY=VALUE
}

// Estimator is a progress that shows how long modules will take.
type Estimator interface {
	Estimates(took map[string]time.Duration)
}

// New is the progress that --progress asks for, of a run of p, which
// is nil when it is not known.
func New(c Config, p *pipeline.Pipeline) Progress {
	var names []string
	if p != nil {
		names = moduleNames(p)
	}
	plain := newPlainProgress(c.Out, c.Paint, names)
	switch c.Format {
	case "json":
		return newJSONProgress(c.Out)
	case "quiet":
		return newQuietProgress(c.Out, c.Paint)
	case "tty":
		why := c.canLive(c.Out)
		if why == "" {
			return c.liveProgress(p)
		}
		plain.Note("no live view, because %s", why)
	case "auto":
		return c.autoProgress(p, plain)
	}
	return plain
}

// autoProgress is the live view on a terminal, and in a
// CI that folds lines, folded ones.
func (c *Config) autoProgress(p *pipeline.Pipeline, plain *plainProgress) Progress {
	if system, ok := c.ciSystem(); ok {
		ci := newCIProgress(c.Out, c.Paint, system)
		if c.Env["GITHUB_ACTIONS"] == "true" {
			ci.summary = c.Env["GITHUB_STEP_SUMMARY"]
		}
		return ci
	}
	if !c.inCI() && c.canLive(c.Out) == "" {
		return c.liveProgress(p)
	}
	return plain
}

func (c *Config) liveProgress(p *pipeline.Pipeline) Progress {
	return newTTYProgress(c.Out.(*os.File), c.Environ, c.Paint, p)
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
