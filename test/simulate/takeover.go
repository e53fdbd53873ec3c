package simulate

import (
	"cmp"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/schedule"
)

// takeOver folds the log and records that this orchestrator decides from now on.
func (d *decider) takeOver() {
	s := d.o.w.server
	d.persist("read the log", func() func() {
		seen, fencing, safe := s.logs[d.run.id].seenBy(d.o.secrets), s.epoch(), s.boot == d.run.boot
		return func() {
			entries := seen.all()
			if len(entries) == 0 {
				d.o.w.note(d.o.name, "finds no log of", d.run.id)
				d.told = true
				d.endTerm()
				return
			}
			state, err := schedule.Load(entries, nil)
			if err != nil {
				d.o.w.fail("%s cannot fold the log of %s: %v", d.o.name, d.run.id, err)
				return
			}
			if d.o.secrets.lacks(state.Key()) {
				d.leaveToOthers()
				return
			}
			if state.Ended() != nil {
				d.purgeRun()
				return
			}
			control, _ := state.Control()
			last := entries[len(entries)-1].Sequence
			d.epoch = schedule.NextEpoch(state, d.epoch, safe, fencing)
			epoch := d.epoch
			record := func() {
				takeover := jobs.Record{Takeover: &jobs.Takeover{Epoch: epoch, Orchestrator: d.o.name, Key: cmp.Or(state.Key(), d.o.secrets.first())}}
				d.append("", control, "", takeover, func(seq uint64) {
					if seq == 0 {
						d.takeOver()
						return
					}
					d.begin(&loop{d: d, link: d.o.link, epoch: epoch, takeover: seq, state: state, cursor: last, fencing: fencing, safe: safe})
				})
			}
			d.publishEpoch(record) // the lease has the epoch before the log has it
		}
	})
}

// leaveToOthers gives the lease of a run back whose key the orchestrator does not
// have.
func (d *decider) leaveToOthers() {
	d.o.w.note(d.o.name, "does not have the key of", d.run.id)
	d.keyless = true
	d.endTerm()
	d.giveBack(nil)
}

// publishEpoch writes the lease, with the epoch, until it is stored.
func (d *decider) publishEpoch(then func()) {
	done := false
	d.write(func() {
		if !done {
			done = true
			then()
		}
	})
	d.o.after(patience, "writes its lease again", d.during(func() {
		if !done {
			done = true
			d.publishEpoch(then)
		}
	}))
}

// begin starts the loop.
func (d *decider) begin(l *loop) {
	l.fleet, l.publishing = schedule.NewFleet(workerTTL), map[jobs.AttemptID]*publication{}
	l.feed, l.watch, l.bells = stream{d: d}, stream{d: d}, stream{d: d}
	l.taker, l.flights, l.flying = l.newTaker(), l.newFlights(), map[jobs.AttemptID]attemptsFlight{}
	d.loop = l
	d.follow()
}
