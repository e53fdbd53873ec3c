package cli

import (
	"io"
	"log/slog"

	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/shown"
	"github.com/modpipe/modpipe/report"
)

// quietProgress shows what went wrong, at the end.
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

func (p *quietProgress) logger() *slog.Logger { return p.log.Logger }

func (p *quietProgress) note(string, ...any) {}

func (p *quietProgress) close() { p.log.Flush() }

func (p *quietProgress) event(e report.Event) {
	e = shown.Event(e)
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	p.tails.event(e)
}

func (p *quietProgress) end(r *report.Report) {
	r = shown.Report(r)
	p.log.Flush()
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	p.tails.write(p.out.w, r, p.paint)
}

// silentProgress shows nothing at all.
type silentProgress struct{}

func newSilentProgress() silentProgress { return silentProgress{} }

func (silentProgress) logger() *slog.Logger { return slog.New(slog.DiscardHandler) }
func (silentProgress) note(string, ...any)  {}
func (silentProgress) event(report.Event)   {}
func (silentProgress) end(*report.Report)   {}
func (silentProgress) close()               {}
