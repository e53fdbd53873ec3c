package orchestrator

import (
	"log/slog"
	"sync"

	"github.com/modpipe/modpipe/report"
)

// maxQueuedEvents is how many fleet events wait for a slow listener, for example
// a stopped terminal. The queue drops and counts further events.
const maxQueuedEvents = 1000

// eventQueue passes fleet events to a listener, in order. The loop that adds
// events does not wait for the listener.
type eventQueue struct {
	events  chan report.Event
	dropped int // used by the goroutine that calls add
	done    sync.WaitGroup
}

func newEventQueue(listener func(report.Event)) *eventQueue {
	t := &eventQueue{events: make(chan report.Event, maxQueuedEvents)}
	t.done.Go(func() {
		for e := range t.events {
			listener(e)
		}
	})
	return t
}

// add queues an event, and drops it when the queue is full. It never blocks. One
// goroutine at a time may call it.
func (t *eventQueue) add(e report.Event) {
	select {
	case t.events <- e:
	default:
		t.dropped++
	}
}

// close returns when the listener has received all queued events. It logs how
// many were dropped.
func (t *eventQueue) close(log *slog.Logger) {
	close(t.events)
	t.done.Wait()
	if t.dropped > 0 {
		log.Warn("dropped fleet events: the listener is too slow", "events", t.dropped)
	}
}
