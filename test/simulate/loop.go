package simulate

import (
	"time"

	"github.com/modpipe/modpipe/internal/locks"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/schedule"
)

// loop decides for a run that an orchestrator has taken over. The fold, the
// dispatcher and the fleet are the real ones of package schedule.
type loop struct {
	d          *decider
	link       int // number of the connection on which it has read the log
	epoch      uint64
	takeover   uint64 // sequence of our takeover record
	state      *schedule.Run
	dispatcher *schedule.Dispatcher
	fleet      *schedule.Fleet
	ours       bool
	ahead      time.Duration // the log's clock minus ours
	cursor     uint64        // sequence of the last entry that was folded

	fencing    uint64 // epoch of fencing tokens
	safe       bool   // the server has not restarted since the run was submitted
	publishing map[jobs.AttemptID]*publication

	taker   *locks.Taker
	flights *locks.Flights
	flying  map[jobs.AttemptID]attemptsFlight // attempts that were looked up and run

	feed, watch, bells stream
	timer              time.Duration // when the timer fires; 0 = not set
	spins              int           // decisions since spun
	spun               time.Duration
}

// now returns the time by the clock of the log.
func (l *loop) now() time.Time { return l.d.o.now().Add(l.ahead) }

func (l *loop) fold(e jobs.Entry) {
	l.cursor = e.Sequence
	if err := l.state.Apply(e); err != nil {
		l.d.o.w.fail("%s cannot fold an entry of %s: %v", l.d.o.name, l.d.run.id, err)
		return
	}
	if t := e.Record.Takeover; t != nil {
		switch {
		case t.Epoch > l.epoch:
			l.d.o.w.note(l.d.o.name, "is superseded by", t.Orchestrator)
			l.d.stepDown()
		case e.Sequence == l.takeover:
			l.ours = true
			l.keepTime(e.Time.Sub(l.d.o.now()))
			l.dispatcher = schedule.NewDispatcher(l.state, l.fleet)
			l.dispatcher.Fence(l.fencing)
			l.fleet.Quiet(l.now().Add(workerTTL - l.d.o.connectedFor()))
			if l.state.MayHaveLost(l.safe) {
				l.dispatcher.AwaitCalm()
			}
		}
		return
	}
	if l.ours {
		l.keepTime(max(l.ahead, e.Time.Sub(l.d.o.now())))
	}
}

// keepTime corrects the estimate of the log's clock.
func (l *loop) keepTime(ahead time.Duration) {
	l.fleet.AdjustClock(ahead - l.ahead)
	l.ahead = ahead
}

// step decides after an event.
func (l *loop) step() {
	if l.d.loop != l || l.d.o.w.failed != nil {
		return
	}
	if l.state.Ended() != nil {
		l.d.loop = nil
		l.d.purgeRun()
		return
	}
	if !l.ours || !l.d.o.now().Before(l.d.leased) {
		return
	}
	if l.timer != 0 {
		l.fleet.Overslept(l.d.o.w.now-l.timer, l.now())
	}
	actions, wake := l.dispatcher.Decide(l.now())
	for _, a := range actions {
		l.perform(a)
	}
	l.wakeAt(wake)
}

// wakeAt schedules the next decision for a time by the clock of the log.
func (l *loop) wakeAt(wake time.Time) {
	if wake.IsZero() {
		l.timer = 0
		return
	}
	o := l.d.o
	if l.spins++; o.w.now-l.spun > time.Millisecond {
		l.spun, l.spins = o.w.now, 0
	}
	if l.spins > 500 {
		o.w.fail("%s decides for %s again and again, and nothing changes", o.name, l.d.run.id)
	}
	at := o.w.now + o.until(wake.Add(-l.ahead)) + time.Microsecond // the party's clock may be a little slow
	if l.timer != 0 && at >= l.timer && l.timer > o.w.now {        // the timer that is set fires first, and the loop decides then
		return
	}
	l.timer = at
	o.w.at(at, o.party, "its timer fires", l.d.during(func() {
		if l.timer == at {
			l.fleet.Overslept(l.d.o.w.now-at, l.now())
			l.timer = 0
			l.step()
		}
	}))
}

// answered returns a function that calls f and decides again.
func (l *loop) answered(f func()) func() {
	return func() {
		if l.d.loop == l && l.ours {
			f()
			l.step()
		}
	}
}
