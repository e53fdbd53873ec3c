// Package bell keeps the jobs that the bell of a lane has announced. It may change
// at any time.
//
// A Chime takes the announcements on any goroutine. A puller moves them to the
// lane's Waiting, where jobs of one rank that were announced one after the other
// are one stretch, so that memory does not grow with the queue.
package bell

import (
	"math"
	"sync"
	"sync/atomic"
)

// Rank orders jobs: Compare is negative when the receiver is more urgent.
type Rank[R any] interface {
	comparable
	Compare(other R) int
}

// stretch is a sequence of jobs with equal ranks.
type stretch[R Rank[R]] struct {
	first, last uint64 // sequences in the queue
	jobs        int
	rank        R
}

// mostStretches bounds the stretches of one lane. Beyond it, new jobs join the
// last stretch, which gets the better rank.
const mostStretches = 64

// Chime holds the jobs that were announced since the last Take. Safe for concurrent
// use; the zero value is empty.
type Chime[R Rank[R]] struct {
	fresh  atomic.Bool // told is not empty
	mu     sync.Mutex
	newest uint64
	told   []stretch[R]
}

// Ring notes a job. It reports whether the queue was recreated or has lost its last
// part: a bell rings in the order of the sequences.
func (c *Chime[R]) Ring(seq uint64, rank R) (recreated bool) {
	if seq == 0 {
		return false // not a bell of JetStream
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	recreated = seq <= c.newest
	if recreated {
		c.told = nil
	}
	c.newest = seq
	c.told = extend(c.told, stretch[R]{seq, seq, 1, rank})
	c.fresh.Store(true)
	return recreated
}

// Take moves the announced jobs to w, and returns their number.
func (c *Chime[R]) Take(w *Waiting[R]) (n int) {
	if !c.fresh.Load() {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.told {
		w.list = extend(w.list, s)
		n += s.jobs
	}
	c.told = c.told[:0]
	c.fresh.Store(false)
	return n
}

// extend appends next to list, as part of its last stretch where it can.
func extend[R Rank[R]](list []stretch[R], next stretch[R]) []stretch[R] {
	if len(list) == 0 {
		return append(list, next)
	}
	last := &list[len(list)-1]
	if last.rank != next.rank && len(list) < mostStretches {
		return append(list, next)
	}
	last.last, last.jobs = next.last, last.jobs+next.jobs
	if next.rank.Compare(last.rank) < 0 {
		last.rank = next.rank
	}
	return list
}

// Waiting are the announced jobs of a lane that may still wait, oldest first. The
// zero value is empty.
type Waiting[R Rank[R]] struct{ list []stretch[R] }

// Forget drops the jobs up to a sequence, which no longer wait: a lane hands jobs
// out in the order of their sequences.
func (w *Waiting[R]) Forget(seq uint64) {
	kept := w.list[:0]
	for _, s := range w.list {
		if s.last > seq {
			s.first = max(s.first, seq+1)
			kept = append(kept, s)
		}
	}
	w.list = kept
}

// Best is the best rank of the jobs; other without any.
func (w *Waiting[R]) Best(other R) R {
	best := other
	for i, s := range w.list {
		if i == 0 || s.rank.Compare(best) < 0 {
			best = s.rank
		}
	}
	return best
}

// Oldest is the sequence of the first job; the largest number without one.
func (w *Waiting[R]) Oldest() uint64 {
	if len(w.list) == 0 {
		return math.MaxUint64
	}
	return w.list[0].first
}

// Newest is the sequence of the last job; 0 without one.
func (w *Waiting[R]) Newest() uint64 {
	if len(w.list) == 0 {
		return 0
	}
	return w.list[len(w.list)-1].last
}
