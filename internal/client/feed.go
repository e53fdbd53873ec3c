package client

import (
	"sync"

	"github.com/modpipe/modpipe/schedule"
)

// Feed passes the steps of an orchestrator's fold to a follower in the same
// process, so that both use one fold of the log. The orchestrator writes to it
// through orchestrator.Config.Observe, and Client.Follow reads from it. The
// orchestrator never waits: when the follower is too far behind, the feed ends
// and the follower folds the log itself.
type Feed struct {
	steps chan *schedule.Step
	close func()
	lost  bool // a step was dropped; used by the goroutine that calls Observe
}

// stepsBuffered is how many steps a follower may be behind. It covers a burst of
// some thousand modules that end together.
const stepsBuffered = 1 << 14

// NewFeed returns an empty feed.
func NewFeed() *Feed {
	f := &Feed{steps: make(chan *schedule.Step, stepsBuffered)}
	f.close = sync.OnceFunc(func() { close(f.steps) })
	return f
}

// Observe adds a step. It never blocks. One goroutine at a time may call it, and
// none after Close.
func (f *Feed) Observe(s schedule.Step) {
	if f.lost {
		return
	}
	select {
	case f.steps <- &s:
	default:
		f.lost = true
		f.close()
	}
}

// Close ends the feed. Call it when the orchestrator has returned.
func (f *Feed) Close() { f.close() }
