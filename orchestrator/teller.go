package orchestrator

import (
	"log/slog"
	"sync"

	"github.com/modpipe/modpipe/report"
)

// mostUntold is how many events of the fleet wait for a listener that is stuck,
// as a terminal is that somebody has stopped; more are left out, and counted.
const mostUntold = 1000

// teller hands the events of the fleet on, in order, so that whoever decides
// does not wait for the listener.
type teller struct {
	events chan report.Event
	missed int // belongs to whoever says
	done   sync.WaitGroup
}

func newTeller(listener func(report.Event)) *teller {
	t := &teller{events: make(chan report.Event, mostUntold)}
	t.done.Go(func() {
		for e := range t.events {
			listener(e)
		}
	})
	return t
}

// say never waits. One goroutine at a time calls it.
func (t *teller) say(e report.Event) {
	select {
	case t.events <- e:
	default:
		t.missed++
	}
}

// close returns when everything has been told.
func (t *teller) close(log *slog.Logger) {
	close(t.events)
	t.done.Wait()
	if t.missed > 0 {
		log.Warn("more happened in the fleet than was told: nobody listened", "events", t.missed)
	}
}
