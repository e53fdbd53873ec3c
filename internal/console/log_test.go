package console

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// stuckWriter takes nothing before it is let go.
type stuckWriter struct {
	bytes.Buffer
	asked chan struct{} // one value for each write, before it is taken
	goOn  chan struct{}
}

func (s *stuckWriter) Write(p []byte) (int, error) {
	select {
	case s.asked <- struct{}{}:
	default:
	}
	<-s.goOn
	return s.Buffer.Write(p)
}

// TestLogWithoutAReader: logging does not wait, what is kept is bounded,
// and what is missing is said.
func TestLogWithoutAReader(t *testing.T) {
	out := &stuckWriter{asked: make(chan struct{}, 1), goOn: make(chan struct{})}
	log := NewLogger(out, false, slog.LevelInfo)
	log.Info("first")
	<-out.asked
	for i := range mostLogLines + 500 {
		log.Info(fmt.Sprintf("line %d", i))
	}
	close(out.goOn)
	<-log.w.written()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 1+mostLogLines+1 || !strings.Contains(lines[0], "first") || !strings.Contains(lines[mostLogLines], fmt.Sprintf("line %d", mostLogLines-1)) {
		t.Errorf("%d lines: %s … %s", len(lines), lines[0], lines[len(lines)-2])
	}
	if last := lines[len(lines)-1]; last != "500 lines of the log left out: its reader was too slow" {
		t.Error(last)
	}
	out.Reset()
	log.Info("again")
	<-log.w.written()
	if !strings.Contains(out.String(), "again") {
		t.Errorf("%q", out.String())
	}
}
