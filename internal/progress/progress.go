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
	// note shows a line about the process: where it runs, what it does next.
	Note(format string, args ...any)
	Event(e report.Event)
	// end shows failures again, and the verdict.
	End(r *report.Report)
	// close restores the terminal and removes temporary files. It is the last call, also
	// without an end. Other goroutines may call it, and more than once.
	Close()
	// logger is the log of the program.
	Logger() *slog.Logger
}

// Config configures how and where a run is shown.
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

// New returns the progress of --progress for a run of p. p is nil when the pipeline is
// unknown.
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

// autoProgress returns the live view on a terminal, folded lines in a CI that folds
// them, and plain lines elsewhere.
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

// lockedWriter serializes writes.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer // guarded by mu
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
