package broker

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modpipe/modpipe/jobs"
)

const (
	// yieldFor is how long a worker with a scarcer lane leaves a job to
	// workers without one: the same bell wakes them, and they need about a
	// millisecond.
	yieldFor = 3 * time.Millisecond

	// rankKept is how long a lane counts as used after its last job: no lane
	// yields to one that an earlier pipeline has left behind.
	rankKept = 10 * time.Minute
)

// stretch is a sequence of jobs with equal ranks that the bell of a lane
// announced one after the other.
type stretch struct {
	first, last uint64 // sequences in the queue
	jobs        int
	rank        jobs.Rank
}

// mostStretches bounds the stretches of one lane. Beyond it, new jobs join the
// last stretch, which gets the better rank.
const mostStretches = 64

// chime holds the jobs that the bell of a lane has announced since Run last looked.
// The bell's subscription writes it, and Run takes it.
type chime struct {
	fresh  atomic.Bool // told is not empty
	mu     sync.Mutex
	newest uint64
	told   []stretch
}

// ring notes a job. It reports whether the queue was recreated or has lost its last
// part: a bell rings in the order of the sequences.
func (c *chime) ring(seq uint64, rank jobs.Rank) (recreated bool) {
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
	c.told = extend(c.told, stretch{seq, seq, 1, rank})
	c.fresh.Store(true)
	return recreated
}

// take returns the jobs that the bell has announced since the last call.
func (c *chime) take() []stretch {
	if !c.fresh.Load() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	told := c.told
	c.told = nil
	c.fresh.Store(false)
	return told
}

// extend appends next to list, as part of its last stretch where it can.
func extend(list []stretch, next stretch) []stretch {
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

// hearBells takes the jobs that the bells have announced, and decides which lanes
// yield.
func (p *Puller) hearBells(now time.Time) {
	for _, l := range p.turn {
		told := l.chime.take()
		if len(told) == 0 {
			continue
		}
		for _, s := range told {
			l.waiting = extend(l.waiting, s)
			l.known += s.jobs
		}
		l.rung = l.waiting[len(l.waiting)-1].last
		l.rate(now)
		if !l.more && l.yields.IsZero() && p.scarcest(now) < l.rank.Supply() {
			l.yields = now.Add(yieldFor)
		}
	}
}

// rate sets the lane's rank to the best of its known waiting jobs.
func (l *lane) rate(now time.Time) {
	for i, s := range l.waiting {
		if i == 0 || s.rank.Compare(l.rank) < 0 {
			l.rank = s.rank
		}
	}
	l.ranked = now
}

// delivered forgets the jobs up to a delivered one: a lane hands them out in
// the order of their sequences.
func (l *lane) delivered(seq uint64, rank jobs.Rank, now time.Time) {
	l.forget(seq)
	l.rank = rank
	l.rate(now)
}

// forget drops the jobs up to a sequence, which no longer wait.
func (l *lane) forget(seq uint64) {
	kept := l.waiting[:0]
	for _, s := range l.waiting {
		if s.last > seq {
			s.first = max(s.first, seq+1)
			kept = append(kept, s)
		}
	}
	l.waiting = kept
}

// oldest is the sequence of the first known waiting job.
func (l *lane) oldest() uint64 {
	if len(l.waiting) == 0 {
		return math.MaxUint64
	}
	return l.waiting[0].first
}

// rings reports whether jobs of the lane are known to wait.
func (l *lane) rings() bool { return l.more || l.rung > l.seen }

// wants reports whether to request jobs of the lane.
func (l *lane) wants() bool {
	return l.out == 0 && !l.silenced && (l.want || l.retry || l.rings())
}

// scarcest is the smallest number of slots that serve a used lane.
func (p *Puller) scarcest(now time.Time) int {
	least := math.MaxInt
	for _, l := range p.turn {
		if !l.ranked.IsZero() && now.Sub(l.ranked) < rankKept {
			least = min(least, l.rank.Supply())
		}
	}
	return least
}

// fill requests as many jobs as there are free slots from the lanes that may have
// some: lanes whose bell announced the best ranks first, lanes without known jobs
// last. Lanes of one rank share the slots, in turn. A lane waits for the answers
// of the lanes before it, unless there is room for both.
func (p *Puller) fill(ctx context.Context, now time.Time) {
	if p.stopping || !p.c.Connected() {
		return
	}
	p.hearBells(now)
	groups := p.wanting(now)
	if len(groups) == 0 {
		return
	}
	free := p.slots - p.used - p.reserved
	if free <= 0 {
		p.passAll(now)
		return
	}
	if l := p.longestPassed(now); l != nil && !p.overtaken(l, groups) {
		if free < l.slots {
			p.confirm(ctx, l, now)
		} else {
			p.request(l, 1, now)
		}
		return // the free slots are kept for it
	}
	for i, group := range groups {
		if free = p.share(group, free, i == len(groups)-1, now); free <= 0 {
			return
		}
	}
}

// share requests jobs for the free slots from the lanes of a group, and returns
// the number of remaining slots. Except in the last group, it requests no more
// jobs than are known to wait, so that the next group need not wait for the
// answer.
func (p *Puller) share(group []*lane, free int, last bool, now time.Time) int {
	wanting := len(group)
	for _, l := range group {
		if l.slots > free {
			l.pass(now)
		} else {
			n := max(free/wanting/l.slots, 1)
			if !last && !l.more && l.known > 0 {
				n = min(n, l.known)
			}
			p.request(l, min(n, mostAtOnce), now)
			free -= l.out * l.each
		}
		wanting--
	}
	return free
}

// wanting groups the lanes that want jobs by rank, the best first. Within a group,
// the lane whose oldest job was published first goes first.
func (p *Puller) wanting(now time.Time) [][]*lane {
	var lanes []*lane
	for _, l := range p.turn {
		if l.wants() && !now.Before(l.yields) {
			lanes = append(lanes, l)
		}
	}
	slices.SortStableFunc(lanes, func(a, b *lane) int {
		return cmp.Or(compareLanes(a, b, now), cmp.Compare(a.oldest(), b.oldest()), a.asked.Compare(b.asked))
	})
	var groups [][]*lane
	for i, l := range lanes {
		if i == 0 || compareLanes(lanes[i-1], l, now) != 0 {
			groups = append(groups, nil)
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], l)
	}
	return groups
}

// compareLanes puts lanes with known waiting jobs before others, and orders them by
// rank. A lane without a request for a long time counts as one with waiting jobs,
// because its bell may have been lost.
func compareLanes(a, b *lane, now time.Time) int {
	x, y := a.rings() || a.overdue(now), b.rings() || b.overdue(now)
	switch {
	case x && y:
		return a.rank.Compare(b.rank)
	case x:
		return -1
	case y:
		return 1
	}
	return 0
}

func (l *lane) overdue(now time.Time) bool { return l.want && now.Sub(l.asked) > 2*scanEvery }

// overtaken reports whether a job waits whose priority is higher than those of l,
// a lane for which slots would be kept.
func (p *Puller) overtaken(l *lane, groups [][]*lane) bool {
	first := groups[0][0]
	return first != l && first.rings() && cmp.Compare(first.rank.Priority, l.rank.Priority) > 0
}

// setAlarm wakes Run when the next lane stops yielding.
func (p *Puller) setAlarm(now time.Time) {
	var next time.Time
	for _, l := range p.turn {
		if l.yields.After(now) && (next.IsZero() || l.yields.Before(next)) {
			next = l.yields
		}
	}
	if !next.IsZero() {
		p.alarm.Reset(next.Sub(now))
	}
}

// passAll notes that lanes of several slots are passed over.
func (p *Puller) passAll(now time.Time) {
	for _, l := range p.turn {
		if l.wants() {
			l.pass(now)
		}
	}
}

func (l *lane) pass(now time.Time) {
	if l.passed.IsZero() && l.slots > 1 {
		l.passed = now
	}
}
