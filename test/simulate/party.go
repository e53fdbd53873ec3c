package simulate

import (
	"time"
)

// party is a process with its own clock. It can be killed, paused, and cut off
// from the server in one direction or both.
type party struct {
	w      *world
	name   string
	life   int // grows whenever the party dies; events of an earlier life do not happen
	alive  bool
	paused bool
	held   []event // events that wait for the end of the pause
	waking bool    // continues after a pause that it has not yet noticed

	offset time.Duration // of its clock
	drift  float64       // of its clock, in seconds per second

	boot int       // of the server, to which it is connected
	link int       // number of its connection
	made time.Time // when it connected, on its own clock

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

// now returns the time on the party's clock.
func (p *party) now() time.Time {
	return epoch.Add(p.offset + p.w.now + time.Duration(float64(p.w.now)*p.drift))
}

// until returns the true time that passes until the party's clock shows t.
func (p *party) until(t time.Time) time.Duration {
	return max(0, time.Duration(float64(t.Sub(p.now()))/(1+p.drift)))
}

// after schedules f for when d has passed on the party's clock.
func (p *party) after(d time.Duration, what string, f func()) {
	p.w.after(time.Duration(float64(d)/(1+p.drift)), p, what, f)
}

// begin starts a new life of the party.
func (p *party) begin() {
	p.life++
	p.alive, p.paused, p.held = true, false, nil
	p.connect()
}

// connect opens a new connection.
func (p *party) connect() {
	p.boot = p.w.server.boot
	p.link++
	p.made = p.now()
}

// connectedFor returns the age of the connection, on the party's clock.
func (p *party) connectedFor() time.Duration { return p.now().Sub(p.made) }

// connected reports whether the connection is to the server as it runs now.
func (p *party) connected() bool { return p.boot == p.w.server.boot && !p.w.server.down }

// die ends the party without a message. Messages that it has sent still arrive.
func (p *party) die() {
	p.life++
	p.alive, p.paused, p.held = false, false, nil
	p.stuckIn = nil
}

// resume ends a pause. All events that waited for that happen now.
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
	p.w.after(killing+aMoment, p, "has noticed the pause", func() {
		if p.resumed != since {
			return // it has been paused again
		}
		p.waking = false
		p.w.checks.goesOn(p.w, p)
	})
}

// wait is a condition that a coroutine waits for.
type wait struct {
	c     *coroutine
	on    <-chan struct{}
	fired bool // the time has passed or an answer has arrived
	got   bool // on has received
	scope *scope
}

// ready reports whether the wait is over. It receives from on.
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

// wakeAll resumes coroutines whose wait is over, until none is left.
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
