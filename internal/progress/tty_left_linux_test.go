package progress

import (
	"strconv"
	"sync"
	"testing"

	"github.com/modpipe/modpipe/test/pty"
)

// TestFailedLiveViewContinuesWithPlainLines checks that a bug in the view ends the view
// only, and that the terminal is restored.
func TestFailedLiveViewContinuesWithPlainLines(t *testing.T) {
	term := pty.Open(t)
	before := term.Modes(t)
	go term.Read()
	p := newTTYProgress(term.Slave, []string{"TERM=xterm"}, true, nil)
	p.state.names = []string{"a worker that does not exist"}
	events, report := history()
	p.Event(events[0])
	<-p.done
	for _, e := range events[1:] {
		p.Event(e)
	}
	p.End(report)
	p.Close()
	for _, want := range []string{"going on with plain lines", "build | line 25", "4 modules: "} {
		term.Await(t, want)
	}
	term.Sane(t, before)
}

// TestCloseRestoresTheTerminalAtAnyMoment also checks that the last picture stays.
func TestCloseRestoresTheTerminalAtAnyMoment(t *testing.T) {
	events, _ := history()
	for n := range events {
		term := pty.Open(t)
		before := term.Modes(t)
		go term.Read()
		p := newTTYProgress(term.Slave, []string{"TERM=xterm"}, true, nil)
		for _, e := range events[:n] {
			p.Event(e)
		}
		p.Note("note %d", n)
		var g sync.WaitGroup
		for range 3 {
			g.Go(p.Close)
		}
		g.Wait()
		term.Await(t, "note "+strconv.Itoa(n))
		term.Sane(t, before)
	}
}
