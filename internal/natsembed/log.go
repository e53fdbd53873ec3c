package natsembed

import (
	"fmt"
	"log/slog"
	"strings"
)

// serverLog forwards the important messages of the server's log.
type serverLog struct {
	log    *slog.Logger
	fatal  chan string // the first is kept
	failed chan string // a write to the disk; the first is kept
}

func (l *serverLog) Noticef(string, ...any) {}
func (l *serverLog) Debugf(string, ...any)  {}
func (l *serverLog) Tracef(string, ...any)  {}
func (l *serverLog) Warnf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	if strings.HasSuffix(text, purgedBehind) {
		return
	}
	l.log.Warn("nats-server: " + text)
}

// purgedBehind ends a harmless warning: the consumer had stored a later state than
// a purge has left. A cancelled run purges each of its jobs, and would cause
// hundreds of these warnings.
const purgedBehind = "error on write store state from purge: old update ignored"

func (l *serverLog) Errorf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.log.Error("nats-server: " + text)
	if strings.Contains(format, writeFailed) {
		keepFirst(l.failed, text)
	}
}

func (l *serverLog) Fatalf(format string, v ...any) { keepFirst(l.fatal, fmt.Sprintf(format, v...)) }

func keepFirst(ch chan string, text string) {
	select {
	case ch <- text:
	default:
	}
}
