package cli

import (
	"os"
	"syscall"
	"time"
)

// echoWindow is how long after a signal the same one is taken for an echo of
// it: coreutils timeout, npm, make and terminals deliver what they pass on to
// a process and then to its group.
const echoWindow = time.Second

// signalCount numbers the signals of a process that mean something. A signal
// that follows the same one within echoWindow does not, nor does a second HUP
// ever: a terminal closes once, and its shell may report it late. The zero
// value is ready for use by one goroutine.
type signalCount struct {
	n    int
	last map[os.Signal]time.Time // when a signal of the kind counted last
}

// take counts a signal that arrived at now, and returns its number from 1;
// 0 = it is an echo.
func (c *signalCount) take(s os.Signal, now time.Time) int {
	if last, ok := c.last[s]; ok && (s == syscall.SIGHUP || now.Sub(last) < echoWindow) {
		return 0
	}
	if c.last == nil {
		c.last = map[os.Signal]time.Time{}
	}
	c.last[s] = now
	c.n++
	return c.n
}
