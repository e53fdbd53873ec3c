package client

import (
	"sync"

	"github.com/modpipe/modpipe/schedule"
)

// Feed hands the steps of an orchestrator's fold to a follower in the same
// process (orchestrator.Config.Observe, Client.FollowLed), so that one fold of the
// log serves both. The orchestrator never waits: when the follower is too far
// behind, the feed ends and the follower folds the log itself.
type Feed struct {
	steps chan *schedule.Step
	close func()
	lost  bool // belongs to the orchestrator
}

// stepsBuffered is how many steps a follower may be behind: a burst of some
// thousand modules that end together.
const stepsBuffered = 1 << 14

// NewFeed returns an empty feed.
func NewFeed() *Feed {
	f := &Feed{steps: make(chan *schedule.Step, stepsBuffered)}
	f.close = sync.OnceFunc(func() { close(f.steps) })
	return f
}

// Observe takes a step. One goroutine at a time calls it, and none after Close.
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

// Close ends the feed: the orchestrator has returned.
func (f *Feed) Close() { f.close() }
