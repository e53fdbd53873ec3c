package schedule

import (
	"container/heap"
	"time"

	"github.com/modpipe/modpipe/jobs"
)

// readyHeap orders the ready modules of a lane.
type readyHeap struct {
	run   *Run
	items []int
}

func (h *readyHeap) Len() int { return len(h.items) }
func (h *readyHeap) Less(a, b int) bool {
	return before(h.run.nodes[h.items[a]], h.run.nodes[h.items[b]])
}
func (h *readyHeap) Swap(a, b int) { h.items[a], h.items[b] = h.items[b], h.items[a] }
func (h *readyHeap) Push(x any)    { h.items = append(h.items, x.(int)) }

func (h *readyHeap) Pop() any {
	last := h.items[len(h.items)-1]
	h.items = h.items[:len(h.items)-1]
	return last
}

// timers holds nodes that wait for a moment, earliest first.
type timers struct{ items []timer }

type timer struct {
	at   time.Time
	node int
}

func (t *timers) Len() int           { return len(t.items) }
func (t *timers) Less(a, b int) bool { return t.items[a].at.Before(t.items[b].at) }
func (t *timers) Swap(a, b int)      { t.items[a], t.items[b] = t.items[b], t.items[a] }
func (t *timers) Push(x any)         { t.items = append(t.items, x.(timer)) }

func (t *timers) Pop() any {
	last := t.items[len(t.items)-1]
	t.items = t.items[:len(t.items)-1]
	return last
}

func (t *timers) add(at time.Time, node int) { heap.Push(t, timer{at, node}) }

func (t *timers) due(now time.Time, f func(int)) {
	for len(t.items) > 0 && !t.items[0].at.After(now) {
		f(heap.Pop(t).(timer).node)
	}
}

// lane is what the dispatcher knows of a lane.
type lane struct {
	name      jobs.Lane
	set       jobs.LaneSet
	ready     readyHeap
	prepared  bool
	revision  uint64
	capable   []string
	undecided bool
	wanted    bool          // a module of it has become ready
	full      bool          // no room, found in this Decide
	born      time.Time     // when a module of it was first seen
	slots     int           // of the workers that serve it
	mean      time.Duration // of the attempts that ended lately
}

// settled reports whether the workers that serve the lane are known.
func (l *lane) settled() bool {
	return l.prepared && (len(l.capable) > 0 || !l.undecided)
}
