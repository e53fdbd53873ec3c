package simulate

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/modpipe/modpipe/internal/attempt"
	"github.com/modpipe/modpipe/internal/locks"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/schedule"
)

// lockRecord is a lock's entry in the bucket. Its revision outlives it.
type lockRecord struct {
	entry    jobs.LockEntry
	revision uint64
}

// lockName returns a name that differs for a key, a limit and a flight of the same name.
func lockName(l jobs.Lock) string {
	switch {
	case l.Limit:
		return "limit " + l.Name
	case l.Flight:
		return "flight " + l.Name
	}
	return "key " + l.Name
}

// writeLock is the compare-and-set on a lock's entry.
func (s *server) writeLock(l jobs.Lock, entry jobs.LockEntry, expect uint64) bool {
	before := s.locks[lockName(l)]
	if before.revision != expect {
		s.w.note("nats", "refuses a write of", lockName(l), "expects", expect, "is", before.revision)
		return false
	}
	s.revision++
	s.locks[lockName(l)] = lockRecord{entry, s.revision}
	s.w.trace.mix(uint64(len(entry.Holders)))
	s.w.note("nats", "stores the holders of", lockName(l), entry.Holders)
	if l.Flight {
		s.flightWritten(l, before, entry.Holders)
		return true
	}
	s.w.checks.lockWritten(s.w, l, before.entry.Holders, entry.Holders)
	if len(entry.Holders) < l.Max {
		s.ringLock(l)
	}
	return true
}

// ringLock notifies the orchestrators of all runs that use a lock that it may be
// free.
func (s *server) ringLock(l jobs.Lock) {
	for _, o := range s.w.orchestrators {
		for _, r := range s.w.runs {
			if d := o.deciders[r.id]; d != nil && d.loop != nil && slices.Contains(r.truth.locks, l) {
				d.loop.bells.push("receives the bell of a lock", d.loop.locksChanged)
			}
		}
	}
}

func (l *loop) locksChanged() {
	if l.ours {
		l.dispatcher.LocksChanged()
	}
}

// newTaker returns the real code that takes locks, over the simulated server.
func (l *loop) newTaker() *locks.Taker {
	o := l.d.o
	return &locks.Taker{
		Run: l.d.run.id, Epoch: l.epoch, Bucket: bucket{o.party}, Logs: otherLogs{o.party, o.secrets}, Leases: otherLeases{o.party},
		Clock: clock{o.party}, Ask: l.inquire, Logger: quiet,
	}
}

// inquire decides whether an attempt of another run can be closed.
func (l *loop) inquire(_ context.Context, state *schedule.Run, id jobs.AttemptID) (schedule.Close, bool) {
	if !l.ours || !l.fleet.Calm(l.now()) {
		return schedule.Close{}, false
	}
	if p, ok := state.Unlisted(id, l.fleet); ok {
		l.probe(p) //nolint:contextcheck // a simulated party waits without a context
	}
	return state.Reclaim(id, l.fleet, l.now())
}

// lock takes keys and limits of the cluster for an attempt.
func (l *loop) lock(a schedule.Lock) {
	l.d.task(func(s *scope) {
		by, err := l.taker.Take(s, a.ID, a.Locks)
		if err != nil {
			return // the term is over
		}
		if by != nil {
			l.d.o.w.note(l.d.o.name, "is refused", lockName(by.Lock), "for", l.d.run.id, a.ID.Module, "by", by.By)
		}
		l.d.o.w.after(0, l.d.o.party, "receives the result for the locks", l.d.during(l.answered(func() { l.dispatcher.Locked(a.Node, a.ID, by == nil) })))
	})
}

func (l *loop) unlock(a schedule.Unlock) {
	l.d.task(func(s *scope) {
		_ = l.taker.GiveBack(s, a.ID, a.Locks) // it fails only when the term is over
	})
}

// task runs sequential code of an orchestrator until the term is over.
func (d *decider) task(f func(*scope)) {
	s := d.scope
	c := d.o.spawn(func(*coroutine) { f(s) })
	d.o.tasks = slices.DeleteFunc(append(d.o.tasks, c), func(c *coroutine) bool { return c.over })
}

// endTasks ends the coroutines of an orchestrator that has died.
func (o *orchestrator) endTasks() {
	for _, c := range o.tasks {
		c.stop()
	}
	o.tasks, o.waits = nil, nil
}

// persist asks the server until it answers.
func (p *party) persist(ctx context.Context, what string, op func() func()) error {
	return attempt.Persist(ctx, clock{p}, func(ctx context.Context) error { return p.ask(ctx, what, op) })
}

// bucket is the bucket of locks for an orchestrator.
type bucket struct{ p *party }

func (b bucket) Read(ctx context.Context, l jobs.Lock) (entry jobs.LockEntry, revision uint64, err error) {
	err = b.p.persist(ctx, "read a lock", func() func() {
		is := b.p.w.server.locks[lockName(l)]
		return func() { entry, revision = is.entry, is.revision }
	})
	entry.Name, entry.Limit, entry.Holders = l.Name, l.Limit, slices.Clone(entry.Holders)
	return entry, revision, err
}

func (b bucket) Write(ctx context.Context, l jobs.Lock, entry jobs.LockEntry, revision uint64) (stored bool, err error) {
	err = b.p.persist(ctx, "write a lock", func() func() { //nolint:contextcheck // as above
		ok := b.p.w.server.writeLock(l, entry, revision)
		return func() { stored = ok }
	})
	return stored, err
}

// otherLogs are the logs of other runs for an orchestrator.
type otherLogs struct {
	p       *party
	secrets keyring
}

var errNoKey = errors.New("the run is signed with another secret")

func (o otherLogs) Last(ctx context.Context, run jobs.RunID, cell jobs.ModuleID) (rec jobs.Record, err error) {
	err = o.p.persist(ctx, "read another run's cell", func() func() {
		var last jobs.Record
		if l := o.p.w.server.logs[run]; l.last["mod "+string(cell)] != 0 {
			last = l.entries[l.newest[cell]].Record
		}
		return func() { rec = last }
	})
	return rec, err
}

func (o otherLogs) Over(ctx context.Context, run jobs.RunID) (ended bool, err error) {
	err = o.p.persist(ctx, "read another run's end", func() func() {
		is := o.p.w.server.logs[run].ended || o.p.w.runOf(run).gone
		return func() { ended = is }
	})
	return ended, err
}

func (o otherLogs) Load(ctx context.Context, run jobs.RunID) (*schedule.Run, error) {
	state, _, err := o.load(ctx, run)
	return state, err
}

// load also returns the epoch for a takeover.
func (o otherLogs) load(ctx context.Context, run jobs.RunID) (state *schedule.Run, epoch uint64, err error) {
	var entries []jobs.Entry
	var fencing uint64
	err = o.p.persist(ctx, "read another run's log", func() func() {
		seen, n := o.p.w.server.logs[run].seenBy(o.secrets), o.p.w.server.epoch()
		return func() { entries, fencing = seen.all(), n }
	})
	if err != nil {
		return nil, 0, err
	}
	if state, err = schedule.Load(entries, nil); err != nil {
		return nil, 0, err
	}
	if o.secrets.lacks(state.Key()) {
		return nil, 0, errNoKey
	}
	return state, schedule.NextEpoch(state, 0, false, fencing), nil
}

func (o otherLogs) TakeOver(ctx context.Context, run jobs.RunID) (*schedule.Run, error) {
	for {
		state, epoch, err := o.load(ctx, run)
		if err != nil || state.Ended() != nil {
			return state, err
		}
		control, _ := state.Control()
		takeover := jobs.Record{Takeover: &jobs.Takeover{Epoch: epoch, Orchestrator: o.p.name, Key: cmp.Or(state.Key(), o.secrets.first())}}
		if ok, err := o.append(ctx, run, "", control, takeover); ok || err != nil {
			return state, err
		}
	}
}

func (o otherLogs) append(ctx context.Context, run jobs.RunID, cell jobs.ModuleID, expect uint64, rec jobs.Record) (ok bool, err error) {
	err = o.p.persist(ctx, "append to another run's log", func() func() { //nolint:contextcheck // a simulated party waits without a context
		l := o.p.w.server.logs[run]
		signed := code("")
		if cell != "" {
			signed = attemptCode(l.secret, run, attemptIn(&jobs.Entry{Cell: cell, Record: rec}))
		}
		seq := o.p.w.server.append(run, cell, expect, signed, rec)
		return func() { ok = seq != 0 }
	})
	return ok, err
}

func (o otherLogs) Close(ctx context.Context, run jobs.RunID, c schedule.Close) (bool, error) {
	if c.Purge != nil {
		err := o.p.persist(ctx, "purge another run's job", func() func() {
			o.p.w.server.purge(run, *c.Purge)
			return func() {}
		})
		if err != nil {
			return false, err
		}
	}
	return o.append(ctx, run, c.Cell, c.Expect, jobs.Record{Outcome: &c.Outcome})
}

// otherLeases are the leases of other runs for an orchestrator.
type otherLeases struct{ p *party }

func (o otherLeases) TTL() time.Duration { return leaseTTL }

func (o otherLeases) Led(ctx context.Context, run jobs.RunID) (epoch uint64, led bool) {
	led = true
	_ = o.p.persist(ctx, "read another run's lease", func() func() { // without an answer, the run counts as led
		e := o.p.w.server.leases[run]
		if e == nil {
			return func() { led = false }
		}
		is := e.value.epoch
		return func() { epoch = is }
	})
	return epoch, led
}

func (o otherLeases) Take(ctx context.Context, run jobs.RunID) (release func(), ok bool, err error) {
	s, me := o.p.w.server, o.p.w.name(o.p.name+"/")
	err = o.p.persist(ctx, "take another run's lease", func() func() { //nolint:contextcheck // as above
		e := s.leases[run]
		if e == nil {
			s.revision++
			s.leases[run] = &entry[leaseHolder]{leaseHolder{instance: me}, s.revision, s.clock()}
			s.sweepLater()
		}
		mine := e == nil || e.value.instance == me
		return func() { ok = mine }
	})
	life := o.p.life
	return func() {
		if o.p.life == life { // else it was killed and gives nothing back
			o.p.w.tell(o.p, "release another run's lease", func() {
				if e := s.leases[run]; e != nil && e.value.instance == me {
					s.dropLease(o.p.w.runOf(run))
				}
			})
		}
	}, ok, err
}
