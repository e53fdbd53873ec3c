package simulate

import (
	"context"
	"errors"
	"time"
)

// weather is how bad the network is.
type weather struct {
	loss, twice float64       // chances that a message is lost or arrives twice
	late        float64       // chance that a message takes long
	longest     time.Duration // the longest that a message takes
}

const (
	// patience is the time for which a request waits for its answer.
	patience = 1500 * time.Millisecond
	// killing is the longest time until a killed process is gone, or until a
	// process that was paused has noticed the pause.
	killing = 100 * time.Millisecond
	// aMoment is the longest time until a machine that wakes starts to notice.
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

// call sends a request to the server. There, op answers it, once for each copy
// that arrives. The answer is a function that the party calls. When no answer
// arrives in time, the party calls lost instead. Exactly one of the two happens
// while the party lives. An op that returns nil does not answer.
func (w *world) call(p *party, what string, op func() func(), lost func()) {
	c := &call{w: w, p: p, life: p.life, boot: p.boot, what: what, op: op, lost: lost, due: w.now + patience}
	c.send(true)
	if once := what == publishing; !once && w.chance(w.net.twice) {
		c.send(false)
	}
}

var errNoAnswer = errors.New("no answer")

// ask makes a call from the current coroutine and waits for the answer, or for
// its time-out.
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

// tell sends a message without an answer.
func (w *world) tell(p *party, what string, op func()) {
	w.call(p, what, func() func() { op(); return nil }, nil)
}

// publishing is the only request that the network does not repeat. A job arrives
// twice only when its orchestrator sends it twice. Then the second copy is marked.
const publishing = "publish"

// call is a request under way.
type call struct {
	w    *world
	p    *party
	life int // of the party; a party that has died receives no answer
	boot int // of the server to which the request is sent
	what string
	op   func() func()
	lost func() // nil: the message has no answer
	due  time.Duration
	done bool
	gone bool // no answer will arrive in time
}

// giveUp makes the request time out for its caller.
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

// send sends one copy to the server. Only the loss of the first copy counts.
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
			if w.server.boot != c.boot { // the connection broke before the party read the answer
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

// heal ends a cut. Messages that waited for that continue on their way. A new
// connection drops the ones to the party.
func (w *world) heal(p *party, reconnects bool) {
	p.cutOut, p.cutIn = false, false
	out, in := p.stuckOut, p.stuckIn
	p.stuckOut, p.stuckIn = nil, nil
	for _, f := range out { // the sender's machine has buffered these, so that they always arrive
		f()
	}
	if reconnects {
		return
	}
	for _, f := range in {
		f()
	}
}
