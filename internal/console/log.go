package console

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/lmittmann/tint"

	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/safetext"
)

const (
	mostLogLines  = 1000        // that wait for the reader of the log
	flushPatience = time.Second // for a log without a reader, at the end
)

// Logger writes the log of a program, and never blocks it: a worker whose log
// is not read, on a stopped terminal or in a pipe without a reader, goes on,
// and above all kills what it must.
type Logger struct {
	*slog.Logger
	w *logWriter
}

// NewLogger logs for people.
func NewLogger(w io.Writer, p Painter, level slog.Level) *Logger {
	l := &logWriter{out: w, clean: logLine}
	return &Logger{slog.New(tint.NewTextHandler(l, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: !bool(p)})), l}
}

// NewJSONLogger logs for programs.
func NewJSONLogger(w io.Writer) *Logger {
	l := &logWriter{out: w, clean: safetext.JSON}
	return &Logger{slog.New(slog.NewJSONHandler(l, nil)), l}
}

// NewEventLogger logs the words of warnings, for what adds the rest.
func NewEventLogger(w io.Writer) *Logger {
	l := &logWriter{out: w, clean: func(line []byte) []byte { return line }} // its events are data
	words := func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
			return slog.Attr{}
		}
		return a
	}
	return &Logger{slog.New(tint.NewTextHandler(l, &tint.Options{Level: slog.LevelWarn, NoColor: true, ReplaceAttr: words})), l}
}

// logLine is a line of a log for people, which stays one line or is indented.
func logLine(line []byte) []byte {
	text := strings.TrimSuffix(string(line), "\n")
	return []byte(safetext.Screen(phrase.Indent(text)) + "\n")
}

// Flush waits until all is written, or for as long as it is worth.
func (l *Logger) Flush() {
	select {
	case <-l.w.written():
	case <-time.After(flushPatience):
	}
}

// logWriter writes what it is given, a line each time, on a goroutine that
// lives while there are any. When too many wait, further ones are dropped, and
// their number is logged.
type logWriter struct {
	out   io.Writer                // belongs to the goroutine
	clean func(line []byte) []byte // takes out of a line what commands its reader

	mu      sync.Mutex // guards what follows; not held while out is written to
	lines   [][]byte
	dropped int
	idle    chan struct{} // closed when the goroutine has ended; nil = none
}

// Write queues a line; it never blocks.
func (l *logWriter) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) >= mostLogLines {
		l.dropped++
		return len(line), nil
	}
	l.lines = append(l.lines, bytes.Clone(line))
	if l.idle == nil {
		l.idle = make(chan struct{})
		go l.run()
	}
	return len(line), nil
}

func (l *logWriter) run() {
	for lines := l.take(); lines != nil; lines = l.take() {
		for _, line := range lines {
			_, _ = l.out.Write(l.clean(line)) // an error has no reader
		}
	}
}

// take is what waits; nil ends the goroutine.
func (l *logWriter) take() [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.lines
	if l.dropped > 0 {
		lines = append(lines, fmt.Appendf(nil, "%s of the log left out: its reader was too slow\n", phrase.Count(l.dropped, "line")))
	}
	l.lines, l.dropped = nil, 0
	if lines == nil {
		close(l.idle)
		l.idle = nil
	}
	return lines
}

// written is closed when nothing waits to be written.
func (l *logWriter) written() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.idle != nil {
		return l.idle
	}
	done := make(chan struct{})
	close(done)
	return done
}
