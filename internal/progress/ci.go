package progress

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/safetext"
	"github.com/modpipe/modpipe/internal/shown"
	"github.com/modpipe/modpipe/report"
)

// spoolAbove is the size above which the output of a running module moves from memory to
// a temporary file.
const spoolAbove = 1 << 20

// ciProgress is the plain progress for the log of a CI that can fold lines. It holds the
// output of a module back until the module ends. Then it writes the output as one group
// of lines, which is folded unless the module has failed.
type ciProgress struct {
	*plainProgress
	system  ciSystem
	summary string            // the file to which the step's summary is appended; "" = none
	spools  map[string]*spool // by module; this and the fields below are guarded by out.mu
	groups  int
}

func newCIProgress(w io.Writer, paint console.Painter, system ciSystem) *ciProgress {
	return &ciProgress{plainProgress: newPlainProgress(w, paint, nil), system: system, spools: map[string]*spool{}}
}

func (p *ciProgress) Event(e report.Event) {
	e = shown.Event(e)
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	switch e.Event {
	case report.EventModuleOutput:
		p.tails.event(e)
		p.spool(e.Module).line(e.Text)
		return
	case report.EventModuleStarted:
		p.begin(e)
	case report.EventModuleEnded:
		p.finish(e)
		return
	default:
	}
	p.told(e)
}

func (p *ciProgress) spool(module string) *spool {
	s := p.spools[module]
	if s == nil {
		s = &spool{}
		p.spools[module] = s
	}
	return s
}

// begin notes when a module began. In its output, it marks the start of a later attempt.
func (p *ciProgress) begin(e report.Event) {
	s := p.spool(e.Module)
	if s.started.IsZero() {
		s.started = e.Time
	}
	if s.size > 0 {
		s.line(fmt.Sprintf("--- attempt %d on %s", e.Attempt, phrase.OrDash(e.Worker)))
	}
}

// finish writes the output of a module, and how the module ended.
func (p *ciProgress) finish(e report.Event) {
	s := p.spools[e.Module]
	delete(p.spools, e.Module)
	if s == nil || s.size == 0 {
		p.told(e)
	} else {
		p.tails.event(e)
		p.group(s, e)
	}
	if p.system.alarm != nil && showsFailure(report.Status(e.Status)) {
		_, _ = io.WriteString(p.out.w, p.system.alarm(ciAlarm{
			title: e.Module + " " + e.Status, text: p.alarmText(e), warning: report.Status(e.Status) == report.IgnoredFailure,
		}))
	}
}

// showsFailure reports whether a module with this end is never folded.
func showsFailure(status report.Status) bool {
	return showsTail(status) || status == report.IgnoredFailure
}

func (p *ciProgress) group(s *spool, e report.Event) {
	defer s.discard()
	if showsFailure(report.Status(e.Status)) {
		p.line(e.Time, e.Status, endText(e))
		p.write("", s.writeTo, "")
		return
	}
	p.groups++
	f := ciFold{title: safetext.Line(phrase.Join("  ", e.Status, endText(e))), number: p.groups, from: s.started, to: e.Time}
	p.write(p.system.open(f), s.writeTo, p.system.shut(f))
}

// write writes text from modules. The CI finds no commands in it.
func (p *ciProgress) write(before string, said func(io.Writer), after string) {
	_, _ = io.WriteString(p.out.w, before+p.system.before)
	said(p.out.w)
	_, _ = io.WriteString(p.out.w, p.system.after+after)
}

const (
	alarmLines = 10
	alarmBytes = 3 << 10
)

// alarmText returns why a module failed, and its last lines.
func (p *ciProgress) alarmText(e report.Event) string {
	text := cmp.Or(whyText(e.Error, e.Reason), e.Status)
	if t := p.tails.of[e.Module]; t != nil {
		last := strings.Join(phrase.Each(t.lines[max(0, len(t.lines)-alarmLines):], safetext.Line), "\n")
		if len(last) > alarmBytes {
			last = strings.ToValidUTF8(last[len(last)-alarmBytes:], "")
		}
		text += "\n\n" + last
	}
	return text
}

// Close writes the output of modules whose end was not reported.
func (p *ciProgress) Close() {
	p.log.Flush()
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(p.spools)) {
		if s := p.spools[name]; s.size > 0 {
			p.write(name+"  has not ended; so far:\n", s.writeTo, "")
			s.discard()
		}
	}
	clear(p.spools)
}

func (p *ciProgress) End(r *report.Report) {
	r = shown.Report(r)
	p.Close()
	p.last(r)
	if p.summary == "" {
		return
	}
	if err := appendFile(p.summary, stepSummary(r, p.tails)); err != nil {
		p.Note("warning: the step's summary: %v", err)
	}
}

// last writes the last lines of failed modules, and the summary.
func (p *ciProgress) last(r *report.Report) {
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	var b strings.Builder
	p.tails.write(&b, r, p.paint)
	console.Writeln(&b)
	WriteSummary(&b, r, p.paint)
	p.write("", func(w io.Writer) { _, _ = io.WriteString(w, b.String()) }, "")
}

func appendFile(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// spool holds the output of one module that has not ended.
type spool struct {
	started time.Time
	size    int64
	memory  bytes.Buffer
	file    *os.File // the output before that in memory; nil = no file yet
	full    bool     // the file could not be created or written; output above the limit is dropped
	dropped int      // lines
}

func (s *spool) line(text string) {
	if s.full && s.memory.Len() > spoolAbove {
		s.dropped++
		return
	}
	s.size += int64(len(text) + 1)
	s.memory.WriteString(text)
	s.memory.WriteByte('\n')
	if s.memory.Len() > spoolAbove && !s.full {
		s.full = s.spill() != nil
	}
}

func (s *spool) spill() (err error) {
	if s.file == nil {
		if s.file, err = os.CreateTemp("", "modpipe-output-"); err != nil {
			s.file = nil
			return err
		}
	}
	_, err = s.memory.WriteTo(s.file)
	s.memory = bytes.Buffer{}
	return err
}

func (s *spool) writeTo(w io.Writer) {
	if s.file != nil {
		if _, err := s.file.Seek(0, io.SeekStart); err == nil {
			_, _ = io.Copy(w, s.file)
		}
	}
	_, _ = w.Write(s.memory.Bytes())
	if s.dropped > 0 {
		console.Writef(w, "… and %s that were not kept: no room in %s\n", phrase.Count(s.dropped, "line"), os.TempDir())
	}
}

func (s *spool) discard() {
	if s.file != nil {
		_ = s.file.Close()
		_ = os.Remove(s.file.Name())
	}
}
