package progress

import (
	"io"
	"log/slog"

	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/shown"
	"github.com/modpipe/modpipe/report"
)

// quietProgress shows failures, at the end.
type quietProgress struct {
	log   *console.Logger
	out   *lockedWriter
	paint console.Painter
	tails *tails // guarded by out.mu
}

func newQuietProgress(w io.Writer, paint console.Painter) *quietProgress {
	out := &lockedWriter{w: w}
	return &quietProgress{log: console.NewLogger(out, paint, slog.LevelError), out: out, paint: paint, tails: newTails()}
}

func (p *quietProgress) Logger() *slog.Logger { return p.log.Logger }

func (p *quietProgress) Note(string, ...any) {}

func (p *quietProgress) Close() { p.log.Flush() }

func (p *quietProgress) Event(e report.Event) {
	e = shown.Event(e)
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	p.tails.event(e)
}

func (p *quietProgress) End(r *report.Report) {
	r = shown.Report(r)
	p.log.Flush()
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	p.tails.write(p.out.w, r, p.paint)
}

// silentProgress shows nothing.
type silentProgress struct{}

// Silent returns a progress that shows nothing.
func Silent() silentProgress { return silentProgress{} }

func (silentProgress) Logger() *slog.Logger { return slog.New(slog.DiscardHandler) }
func (silentProgress) Note(string, ...any)  {}
func (silentProgress) Event(report.Event)   {}
func (silentProgress) End(*report.Report)   {}
func (silentProgress) Close()               {}
