package progress

import (
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/safetext"
	"github.com/modpipe/modpipe/report"
)

// Lines of the JSON progress that are not events of the run.
const (
	eventError   report.EventKind = "error"   // why the command ended, when that was not the run's verdict
	eventWarning report.EventKind = "warning" // from the log of the program
)

// jsonProgress writes one event on each line, and no other text.
type jsonProgress struct {
	log *console.Logger
	mu  sync.Mutex
	enc *json.Encoder // guarded by mu
	seq uint64        // guarded by mu
	run string        // guarded by mu
}

func newJSONProgress(w io.Writer) *jsonProgress {
	enc := json.NewEncoder(safetext.JSONWriter(w))
	enc.SetEscapeHTML(false)
	p := &jsonProgress{enc: enc}
	p.log = console.NewEventLogger(jsonWarnings{p})
	return p
}

func (p *jsonProgress) Logger() *slog.Logger { return p.log.Logger }

// jsonWarnings turns each line of a log into an event.
type jsonWarnings struct{ p *jsonProgress }

func (w jsonWarnings) Write(line []byte) (int, error) {
	w.p.Event(report.Event{Event: eventWarning, Text: strings.TrimSpace(string(line))})
	return len(line), nil
}

func (p *jsonProgress) Note(string, ...any) {}

func (p *jsonProgress) End(*report.Report) {}

func (p *jsonProgress) Close() { p.log.Flush() }

// Event numbers and writes the events of the run and of the fleet.
func (p *jsonProgress) Event(e report.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seq++
	e.V, e.Seq = 1, p.seq
	if e.Run == "" {
		e.Run = p.run
	}
	p.run = e.Run
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Time = e.Time.UTC()
	_ = p.enc.Encode(e)
}

// failure writes the last line of a failed command.
func (p *jsonProgress) failure(text string) {
	p.Event(report.Event{Event: eventError, Error: text})
}

// WriteFailure writes why a command failed as one line of JSON.
func WriteFailure(w io.Writer, text string) { newJSONProgress(w).failure(text) }
