package puller

import (
	"cmp"
	"context"
	"math"
	"slices"
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

// takeBells takes the jobs that the bells have announced, and decides which lanes
// yield.
func (p *Puller) takeBells(now time.Time) {
	for _, l := range p.turn {
		n := l.chime.Take(&l.waiting)
		if n == 0 {
			continue
		}
		l.known += n
		l.rung = l.waiting.Newest()
		l.rate(now)
		if !l.more && l.yields.IsZero() && p.scarcest(now) < l.rank.Supply() {
			l.yields = now.Add(yieldFor)
		}
	}
}

// rate sets the lane's rank to the best of its known waiting jobs.
func (l *lane) rate(now time.Time) { l.rank, l.ranked = l.waiting.Best(l.rank), now }

// delivered forgets the jobs up to a delivered one.
func (l *lane) delivered(seq uint64, rank jobs.Rank, now time.Time) {
	l.waiting.Forget(seq)
	l.rank = rank
	l.rate(now)
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
	p.takeBells(now)
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
		return cmp.Or(compareLanes(a, b, now), cmp.Compare(a.waiting.Oldest(), b.waiting.Oldest()), a.asked.Compare(b.asked))
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
