package progress

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/shown"
	"github.com/modpipe/modpipe/report"
)

// WidestName bounds the column of module names before log lines.
const WidestName = 36

// plainProgress writes lines for the log of a CI. The line of an event begins with the
// time since the run's start and a word. A line of output begins with the module's name
// and a bar.
type plainProgress struct {
	log   *console.Logger
	out   *lockedWriter // its mu guards the fields below
	paint console.Painter
	width int // of the names' column
	start time.Time
	tails *tails
}

func newPlainProgress(w io.Writer, paint console.Painter, names []string) *plainProgress {
	out := &lockedWriter{w: w}
	p := &plainProgress{log: console.NewLogger(out, paint, slog.LevelWarn), out: out, paint: paint, tails: newTails()}
	for _, n := range names {
		p.width = min(WidestName, max(p.width, utf8.RuneCountInString(n)))
	}
	return p
}

func (p *plainProgress) Logger() *slog.Logger { return p.log.Logger }

func (p *plainProgress) Note(format string, args ...any) {
	console.Writef(p.out, format+"\n", args...)
}

func (p *plainProgress) Event(e report.Event) {
	e = shown.Event(e)
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	p.told(e)
}

// told writes the line of an event, under p.out.mu.
func (p *plainProgress) told(e report.Event) {
	p.tails.event(e)
	if e.Event == report.EventModuleOutput {
		console.Writef(p.out.w, "%s | %s\n", phrase.Pad(e.Module, p.width), e.Text)
		return
	}
	if e.Event == report.EventRunStarted {
		p.start = e.Time
	}
	if word, text := eventText(e); word != "" {
		p.line(e.Time, word, text)
	}
}

// line writes a line with its time and word, under p.out.mu.
func (p *plainProgress) line(at time.Time, word, text string) {
	elapsed := 0.0
	if !p.start.IsZero() && at.After(p.start) {
		elapsed = at.Sub(p.start).Seconds()
	}
	console.Writef(p.out.w, "%8s  %s %s\n", phrase.Seconds(elapsed), p.paint.Status(word, phrase.Pad(word, 18)), text)
}

// workerLeft is the reason for the end of a worker that left in order.
const workerLeft = "left"

// eventText returns an event in words. An event without a word is not shown.
func eventText(e report.Event) (word, text string) {
	switch e.Event {
	case report.EventRunStarted:
		return "run", fmt.Sprintf("%s of %s, %s", e.Run, e.Pipeline, phrase.Count(e.Modules, "module"))
	case report.EventModuleStarted:
		text = e.Module + "  on " + phrase.OrDash(e.Worker)
		if e.Attempt > 1 {
			text += fmt.Sprintf(", attempt %d", e.Attempt)
		}
		return "started", text
	case report.EventModuleRetrying:
		return "retrying", e.Module + "  " + retryText(e)
	case report.EventModuleEnded:
		if report.Status(e.Status) == report.Skipped && strings.HasPrefix(e.Reason, notSelected) {
			return "", "" // the summary has their number
		}
		return e.Status, endText(e)
	case report.EventFamilyExpanded:
		return "expanded", fmt.Sprintf("%s  into %s", e.Module, phrase.Count(e.Modules, "module"))
	case report.EventWorkerJoined:
		return "worker joined", fmt.Sprintf("%s, %s", e.Worker, phrase.Count(e.Slots, "slot"))
	case report.EventWorkerLost:
		if e.Reason == workerLeft {
			return "worker left", e.Worker
		}
		return "worker lost", phrase.Join("  ", e.Worker, cmp.Or(e.Reason, e.Error))
	case report.EventWaiting:
		return "waiting", waitingText(e)
	case report.EventSecretReleased:
		return "secret", fmt.Sprintf("%s  gets %s, on %s", e.Module, e.Secret, phrase.OrDash(e.Worker))
	case report.EventRunEnded:
		return "run " + e.Status, phrase.Join("  ", durationText(e.Duration), cmp.Or(e.Error, e.Reason))
	case report.EventModuleReady, report.EventModuleOutput:
	}
	return "", ""
}

func endText(e report.Event) string {
	code := ""
	why := phrase.FirstLine(whyText(e.Error, e.Reason), 300)
	if e.ExitCode != nil && *e.ExitCode != 0 && why == "" {
		code = fmt.Sprintf("exit code %d", *e.ExitCode)
	}
	return phrase.Join("  ", e.Module, durationText(e.Duration), why, code)
}

// whyText returns an error followed by its reason, unless one contains the other.
func whyText(err, reason string) string {
	if strings.Contains(err, reason) {
		return err
	}
	return phrase.Join(": ", reason, err)
}

func retryText(e report.Event) string {
	when := "immediately"
	if e.In != nil && *e.In > 0 {
		when = "in " + phrase.Seconds(*e.In)
	}
	why := phrase.FirstLine(cmp.Or(e.Error, e.Reason, e.Status), 300)
	if why == "" && e.ExitCode != nil {
		why = fmt.Sprintf("exit code %d", *e.ExitCode)
	}
	if why == "" {
		return when
	}
	return when + ": " + why
}

func waitingText(e report.Event) string {
	text := phrase.Join(": ", e.Module, cmp.Or(e.Missing, e.Reason, "no capable worker"))
	if e.Closest != "" {
		text += "; closest is " + e.Closest
	}
	if e.Until != nil {
		text += "; fails at " + e.Until.Local().Format(time.TimeOnly) + " (queue-timeout) unless a worker offers it by then"
	}
	return text
}

func durationText(d *float64) string {
	if d == nil || *d == 0 { // no process ran
		return ""
	}
	return phrase.Seconds(*d)
}

func (p *plainProgress) Close() { p.log.Flush() }

func (p *plainProgress) End(r *report.Report) {
	r = shown.Report(r)
	p.log.Flush()
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	p.tails.write(p.out.w, r, p.paint)
	console.Writeln(p.out.w)
	WriteSummary(p.out.w, r, p.paint)
}
