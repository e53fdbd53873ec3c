package simulate

import (
	"time"
)

// party is a process: it has a clock of its own, may be killed, paused, and
// cut off from the server one way or both.
type party struct {
	w      *world
	name   string
	life   int // grows whenever it dies: what was to happen to it does not
	alive  bool
	paused bool
	held   []event // what was to happen while it is paused
	waking bool    // was paused until now, and has not looked around

	offset time.Duration // of its clock
	drift  float64       // of its clock: seconds a second

	boot int       // of the server, to which it is connected
	link int       // number of its connection
	made time.Time // when that was, on its own clock

	cutOut, cutIn     bool
	stuckOut, stuckIn []func() // messages that wait for the end of the cut
	waits             []*wait  // of its coroutines
	resumed           time.Duration
}

func newParty(w *world, name string) *party {
	p := &party{w: w, name: name}
	p.offset = w.between(-time.Hour, time.Hour)
	p.drift = (w.rand.Float64() - 0.5) / 50 // one percent either way
	return p
}

// now is its own clock.
func (p *party) now() time.Time {
	return epoch.Add(p.offset + p.w.now + time.Duration(float64(p.w.now)*p.drift))
}

// until is how much true time passes until its clock shows t.
func (p *party) until(t time.Time) time.Duration {
	return max(0, time.Duration(float64(t.Sub(p.now()))/(1+p.drift)))
}

// after has f happen to it when d has passed on its clock.
func (p *party) after(d time.Duration, what string, f func()) {
	p.w.after(time.Duration(float64(d)/(1+p.drift)), p, what, f)
}

// begin makes it live.
func (p *party) begin() {
	p.life++
	p.alive, p.paused, p.held = true, false, nil
	p.connect()
}

// connect makes a new connection.
func (p *party) connect() {
	p.boot = p.w.server.boot
	p.link++
	p.made = p.now()
}

// connectedFor is how long its connection has stood, on its own clock.
func (p *party) connectedFor() time.Duration { return p.now().Sub(p.made) }

// connected reports whether its connection is one to the server as it runs now.
func (p *party) connected() bool { return p.boot == p.w.server.boot && !p.w.server.down }

// die ends it without a word. What it has sent is still on its way.
func (p *party) die() {
	p.life++
	p.alive, p.paused, p.held = false, false, nil
	p.stuckIn = nil
}

// resume lets it go on: everything that was to happen happens now.
func (p *party) resume() {
	if !p.paused {
		return
	}
	p.paused, p.waking, p.resumed = false, true, p.w.now
	held := p.held
	p.held = nil
	if p.w.chance(0.5) {
		p.w.rand.Shuffle(len(held), func(a, b int) { held[a], held[b] = held[b], held[a] })
	}
	for i, e := range held {
		p.w.at(p.w.now+time.Duration(i)*time.Microsecond, p, e.what, e.f)
	}
	since := p.w.now
	p.w.after(killing+aMoment, p, "has looked around", func() {
		if p.resumed != since {
			return // it was paused again before
		}
		p.waking = false
		p.w.checks.goesOn(p.w, p)
	})
}

// wait is what a coroutine waits for.
type wait struct {
	c     *coroutine
	on    <-chan struct{}
	fired bool // by time or by an answer
	got   bool // from on
	scope *scope
}

// ready reports whether the wait is over, and takes what it was for.
func (t *wait) ready() bool {
	if t.fired || t.scope.Err() != nil {
		return true
	}
	if t.on == nil {
		return false
	}
	select {
	case <-t.on:
		t.got = true
	default:
	}
	return t.got
}

// wakeAll lets coroutines go on whose wait is over, until none is.
func (p *party) wakeAll() {
	for i := 0; i < len(p.waits); {
		t := p.waits[i]
		if !t.ready() {
			i++
			continue
		}
		p.waits = append(p.waits[:i], p.waits[i+1:]...)
		t.c.resume()
		i = 0
	}
}
