package simulate

import (
	"context"
	"errors"
	"time"
)

// weather is how bad the network is.
type weather struct {
	loss, twice float64       // of messages
	late        float64       // of messages that take long
	longest     time.Duration // that they take
}

const (
	// patience is how long a request waits for its answer.
	patience = 1500 * time.Millisecond
	// killing is how long it takes at most until a killed process is gone, or
	// one that was paused has noticed how late it is.
	killing = 100 * time.Millisecond
	// aMoment is how long after it wakes a machine may begin with that.
	aMoment = 10 * time.Millisecond
)

func (w *world) delay() time.Duration {
	switch {
	case w.chance(w.net.late):
		return w.between(5*time.Millisecond, w.net.longest)
	case w.fair:
		return w.between(100*time.Microsecond, 600*time.Microsecond)
	}
	return w.between(100*time.Microsecond, 3*time.Millisecond)
}

// call sends a request to the server, where op answers it, once for each copy
// that arrives; the answer is a function for the party to call. When none
// arrives in time, lost is called instead. Exactly one of both happens while
// the party lives. An op that returns nil does not answer.
func (w *world) call(p *party, what string, op func() func(), lost func()) {
	c := &call{w: w, p: p, life: p.life, boot: p.boot, what: what, op: op, lost: lost, due: w.now + patience}
	c.send(true)
	if once := what == publishing; !once && w.chance(w.net.twice) {
		c.send(false)
	}
}

var errNoAnswer = errors.New("no answer")

// ask has the coroutine that runs make a call and stands still until it is answered, or not.
func (p *party) ask(ctx context.Context, what string, op func() func()) error {
	s, err := within(ctx), errNoAnswer
	if s.Err() != nil {
		return s.Err()
	}
	over := &wait{c: p.w.current, scope: s}
	p.w.call(p, what, func() func() {
		answer := op()
		return func() {
			err = nil
			answer()
			over.fired = true
		}
	}, func() { over.fired = true })
	p.w.current.park(over)
	return err
}

// tell sends a message that is not answered.
func (w *world) tell(p *party, what string, op func()) {
	w.call(p, what, func() func() { op(); return nil }, nil)
}

// publishing is the one request that the network does not repeat: a job comes
// twice when its orchestrator sends it twice, and then it says so.
const publishing = "publish"

// call is a request under way.
type call struct {
	w    *world
	p    *party
	life int // of the party: who is dead hears no answer
	boot int // of the server that it is sent to
	what string
	op   func() func()
	lost func() // nil: nobody waits for an answer
	due  time.Duration
	done bool
	gone bool // it is known that no answer will come in time
}

// giveUp has the caller notice, in its time, that no answer comes.
func (c *call) giveUp(first bool) {
	if !first || c.gone || c.lost == nil || c.p.life != c.life {
		return
	}
	c.gone = true
	c.w.at(c.due, c.p, c.what+": no answer", func() {
		if !c.done {
			c.done = true
			c.lost()
		}
	})
}

// send has one copy go to the server. first says that it is the one whose
// loss counts.
func (c *call) send(first bool) {
	w := c.w
	switch {
	case w.chance(w.net.loss):
		c.giveUp(first)
		return
	case c.p.cutOut:
		c.giveUp(first)
		if w.chance(0.5) {
			c.p.stuckOut = append(c.p.stuckOut, func() { c.arrive(first) })
		}
		return
	}
	c.arrive(first)
}

func (c *call) arrive(first bool) {
	w := c.w
	w.after(w.delay(), nil, c.what, func() {
		if w.server.boot != c.boot || w.server.down {
			c.giveUp(first)
			return
		}
		answer := c.op()
		if answer == nil {
			c.giveUp(first)
			return
		}
		c.answer(first, answer)
	})
}

func (c *call) answer(first bool, f func()) {
	w := c.w
	back := func() {
		if c.p.life != c.life {
			return
		}
		at := w.now + w.delay()
		if at > c.due {
			c.giveUp(first)
		}
		w.at(at, c.p, c.what+": answer", func() {
			if c.done {
				return
			}
			if w.server.boot != c.boot { // the connection broke before it was read
				c.giveUp(first)
				return
			}
			c.done = true
			f()
		})
	}
	switch {
	case w.chance(w.net.loss):
		c.giveUp(first)
	case c.p.cutIn:
		c.giveUp(first)
		if w.chance(0.5) {
			c.p.stuckIn = append(c.p.stuckIn, back)
		}
	default:
		back()
	}
}

// heal ends a cut. What waited for that goes on its way, unless the
// connection was made anew.
func (w *world) heal(p *party, anew bool) {
	p.cutOut, p.cutIn = false, false
	out, in := p.stuckOut, p.stuckIn
	p.stuckOut, p.stuckIn = nil, nil
	for _, f := range out { // what the sender's machine has buffered arrives in any case
		f()
	}
	if anew {
		return
	}
	for _, f := range in {
		f()
	}
}
