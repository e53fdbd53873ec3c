package cli

import (
	"encoding/json"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/modpipe/modpipe/jobs"
)

// eventError is a line of the JSON progress that says why the command ended,
// when that was not the run's verdict.
const eventError jobs.EventKind = "error"

// jsonProgress writes one event a line, and nothing else.
type jsonProgress struct {
	mu  sync.Mutex
	enc *json.Encoder // guarded by mu
	seq uint64        // guarded by mu
	run jobs.RunID    // guarded by mu
}

func newJSONProgress(w io.Writer) *jsonProgress {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return &jsonProgress{enc: enc}
}

func (p *jsonProgress) logger() *slog.Logger { return slog.New(slog.DiscardHandler) }

func (p *jsonProgress) note(string, ...any) {}

func (p *jsonProgress) end(*jobs.Report) {}

func (p *jsonProgress) close() {}

// event numbers the events anew: they come from the run and from the fleet.
func (p *jsonProgress) event(e jobs.Event) {
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

// failure writes the last word of a command that went wrong.
func (p *jsonProgress) failure(text string) {
	p.event(jobs.Event{Event: eventError, Error: text})
}
