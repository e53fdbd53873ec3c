package simulate

import (
	"context"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/modpipe/modpipe/internal/attempt"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// worker is the model of a worker's process around package attempt: its
// heartbeats, pulls, executions and drains.
type worker struct {
	*party
	slots    int
	os       string
	self     *attempt.Worker
	work     *scope // of the writes of its deliveries
	tasks    []*task
	used     int
	entered  bool   // registered
	revision uint64 // of its entry
	floor    uint64 // jobs up to this sequence are older than the connection
	pulling  bool
	draining bool
	ending   bool // it hands back deliveries that arrive
	beating  bool
	broken   bool // its machine cannot start attempts
	unable   bool // it knows that its machine is broken, and pulls no jobs
	verified int  // number of the connection on which it has verified its earlier claims
}

var quiet = slog.New(slog.DiscardHandler)

func (k *worker) offers(l jobs.Lane) bool {
	return l == "any" || l == jobs.LaneOf(pipeline.Requirements{OS: k.os}, 1)
}

// start starts a new incarnation and registers it.
func (k *worker) start() {
	k.begin()
	k.self = &attempt.Worker{
		Name: k.name, Incarnation: k.w.name(k.name + "."), TTL: workerTTL, KeyLease: attempt.NewKeyLease(workerTTL),
		Log: cells{k}, Clock: clock{k.party}, Logger: quiet,
	}
	k.work = &scope{p: k.party}
	k.tasks, k.used, k.entered, k.pulling, k.draining, k.ending, k.beating = nil, 0, false, false, false, false, false
	k.unable = false
	k.floor, k.verified = math.MaxUint64, k.link
	k.w.note(k.name, "starts as", k.self.Incarnation)
	k.register()
}

func (k *worker) describe() jobs.WorkerInfo {
	d := jobs.WorkerInfo{
		Name: k.name, Incarnation: k.self.Incarnation, Slots: k.slots, Used: k.used, Draining: k.draining,
		LanesSeen: math.MaxUint64, Capabilities: jobs.Capabilities{OS: k.os}, Settled: k.connectedFor() >= workerTTL,
	}
	if k.unable {
		d.Unable = brokenMachine
	}
	for _, t := range k.tasks {
		j := t.Job()
		d.Running = append(d.Running, jobs.RunningEntry{Run: j.Run, Module: j.Module, Attempt: j.Attempt, Nonce: t.Nonce()})
	}
	return d
}

// register registers the worker once its name is free.
func (k *worker) register() {
	s, me := k.w.server, k.describe()
	again := func() { k.after(300*time.Millisecond, "tries to register again", k.register) }
	sent := k.now()
	k.w.call(k.party, "register", func() func() {
		if s.registryAway() {
			return nil
		}
		if e := s.registry[k.name]; e != nil && e.value.Incarnation != me.Incarnation {
			return again
		}
		revision := s.put(me, s.written[k.name])
		return func() {
			k.entered, k.revision = true, revision
			k.self.KeyLease.Renew(sent, k.now())
			k.watchLease()
			k.after(workerTTL/3, "heartbeat is due", k.heartbeat)
			k.after(ackWait/3, "extends its deliveries", k.keep)
			k.findFloor()
			k.scan()
		}
	}, again)
}

// heartbeat sends the heartbeat of every TTL/3.
func (k *worker) heartbeat() {
	k.after(workerTTL/3, "heartbeat is due", k.heartbeat)
	k.beat()
}

// beat renews the entry, and with it the lease.
func (k *worker) beat() {
	if k.entered && k.verified == k.link {
		k.renew(k.revision, true)
	}
}

// renew writes the entry when it has the expected revision. When the server
// refuses, renew reads the entry. It writes once more, unless the entry belongs to
// another incarnation.
func (k *worker) renew(expect uint64, again bool) {
	s, me, sent := k.w.server, k.describe(), k.now()
	k.w.call(k.party, "heartbeat", func() func() {
		if s.registryAway() {
			return nil
		}
		revision := s.put(me, expect)
		if revision == 0 {
			return func() {
				if again {
					k.readEntry()
				}
			}
		}
		return func() {
			k.revision = revision
			if k.self.KeyLease.Renew(sent, k.now()) {
				k.w.note(k.name, "its lease is live again")
				k.watchLease()
				k.recheck()
			}
		}
	}, func() {})
}

func (k *worker) readEntry() {
	s, me := k.w.server, k.self.Incarnation
	k.w.call(k.party, "read its entry", func() func() {
		if s.registryAway() {
			return nil
		}
		e, last := s.registry[k.name], s.written[k.name]
		return func() {
			if e == nil || e.value.Incarnation == me {
				k.renew(last, false)
			}
		}
	}, func() {})
}

// watchLease notices the lapse of the lease.
func (k *worker) watchLease() {
	if k.beating {
		return
	}
	k.beating = true
	until, _ := k.self.KeyLease.Next()
	k.w.after(k.until(until)+k.w.between(0, 20*time.Millisecond), k.party, "checks its lease", func() {
		k.beating = false
		if _, live := k.self.KeyLease.State(k.now()); live {
			k.watchLease()
			return
		}
		k.w.note(k.name, "its lease has lapsed")
		for _, t := range k.tasks {
			t.Lapsed()
		}
	})
}

func (k *worker) recheck() {
	for _, t := range k.tasks {
		t.Recheck()
	}
}

// reconnected handles a new connection. Before its next heartbeat, the worker
// verifies its claims and drops the deliveries that it has not claimed.
func (k *worker) reconnected() {
	k.floor = math.MaxUint64
	link := k.link
	k.pulling = false
	open := slices.Clone(k.tasks)
	k.spawn(func(c *coroutine) {
		for _, t := range open {
			if t.Reconnected(k.work) != nil {
				return // the worker ends, or the connection breaks again
			}
		}
		if k.link == link {
			k.w.after(0, k.party, "has verified its claims", func() { k.hasVerified(link) })
		}
	})
}

func (k *worker) hasVerified(link int) {
	if k.link != link {
		return
	}
	k.verified = link
	if k.entered {
		k.findFloor()
		k.beat()
		k.recheck()
	}
}

func (k *worker) findFloor() {
	s, link := k.w.server, k.link
	k.w.call(k.party, "the queue's state", func() func() {
		last := s.queued
		return func() {
			if k.link == link {
				k.floor = last
			}
		}
	}, func() {
		if k.link == link {
			k.findFloor()
		}
	})
}

// brokenMachine is why a worker's machine cannot start attempts.
const brokenMachine = "no space left on device"

// cannotBegin stops the worker's pulls until its machine can start attempts again.
func (k *worker) cannotBegin() {
	if k.unable {
		return
	}
	k.w.note(k.name, "cannot start attempts")
	k.unable = true
	k.beat()
	k.after(time.Second, "tests whether it can start attempts", k.tryMachine)
}

func (k *worker) tryMachine() {
	if k.broken {
		k.after(time.Second, "tests whether it can start attempts", k.tryMachine)
		return
	}
	k.w.note(k.name, "can start attempts again")
	k.unable = false
	k.beat()
	k.pull()
}

// keep prevents the redelivery of open deliveries.
func (k *worker) keep() {
	k.after(ackWait/3, "extends its deliveries", k.keep)
	if len(k.tasks) == 0 {
		return
	}
	open := make([]uint64, 0, len(k.tasks))
	for _, t := range k.tasks {
		if t.link == k.link {
			open = append(open, t.from.sequence)
		}
	}
	k.w.tell(k.party, "in progress", func() { k.w.server.inProgress(open) })
}

// scan checks for jobs every second, in case a bell was lost.
func (k *worker) scan() {
	k.after(time.Second, "scans for jobs", k.scan)
	if k.w.server.waiting(k) {
		k.pull()
	}
}

// pull requests jobs for the free slots.
func (k *worker) pull() {
	free := k.slots - k.used
	if !k.entered || k.draining || k.pulling || k.unable || free <= 0 {
		return
	}
	s, link := k.w.server, k.link
	k.pulling = true
	k.w.call(k.party, "pull", func() func() {
		got := s.pulled(k, free)
		return func() {
			if k.link != link {
				return // jobs on an earlier connection are left for other workers
			}
			k.pulling = false
			for _, d := range got {
				k.handle(d)
			}
		}
	}, func() { k.pulling = k.pulling && k.link != link })
}

// handle serves a delivery. A delivery that arrives after the worker has left is
// left for other workers.
func (k *worker) handle(d delivered) {
	if !k.entered {
		return
	}
	from := attempt.Arrival{
		Nonce: k.w.name("n"), MaybeDuplicate: d.job.MaybeDuplicate || d.number > 1 || d.stored.After(d.job.StoreBy),
		Older: d.sequence <= k.floor, Connection: uint64(k.link), //nolint:gosec // counts up from 0
	}
	t := &task{Delivery: k.self.Deliver(d.job, from), k: k, from: d, link: k.link}
	twin := slices.ContainsFunc(k.tasks, func(o *task) bool { return o.Is(t.Delivery) })
	k.w.note(k.name, "receives", d.job.Run, d.job.Module, d.job.Attempt, "delivery", d.number, "doubtful", from.MaybeDuplicate, "older", from.Older)
	w := k.w
	w.forger.learns(k, d.job, from.Nonce)
	k.used += d.slots
	if twin {
		k.used -= d.slots
		return
	}
	k.tasks = append(k.tasks, t)
	if k.ending {
		t.HandBack("the worker drains", 0)
	}
	k.spawn(func(c *coroutine) {
		t.c = c
		if err := t.Serve(k.work, t); err != nil {
			k.w.note(k.name, "could not store an outcome:", t.String(), err)
			if st, asked := t.Stops().Asked(); k.work.Err() == nil && !t.Discarded() && (!asked || st.Status != report.AttemptHandedBack) {
				k.w.fail("%s gives the outcome of %s up: %v", k.name, t, err)
			}
		}
		t.closed()
	})
}

// kill ends the process without a message.
func (k *worker) kill() {
	k.w.note(k.name, "is killed")
	k.die()
	k.abandonAll()
}

func (k *worker) abandonAll() {
	for _, t := range k.tasks {
		t.abandon()
	}
	k.tasks, k.waits = nil, nil
}

// drain lets the worker finish its executions and leave. The worker hands back the
// ones that do not end in time.
func (k *worker) drain(limit time.Duration) {
	if !k.entered || k.draining {
		return
	}
	k.w.note(k.name, "drains")
	k.draining = true
	k.beat()
	k.after(limit, "reaches its drain timeout", func() {
		k.ending = true
		for _, t := range k.tasks {
			t.HandBack("the worker drains", t.Job().Grace)
		}
	})
	k.whenDone()
}

// halt ends the worker without a grace period. The worker drops outcomes that it
// cannot store soon.
func (k *worker) halt() {
	if !k.entered {
		return
	}
	k.w.note(k.name, "stops")
	k.draining, k.ending = true, true
	for _, t := range k.tasks {
		t.HandBack("the worker was stopped", 0)
	}
	k.after(2*time.Second, "drops outcomes that are not stored", func() { k.work.cancel() })
	k.whenDone()
}

// whenDone leaves when no delivery is open.
func (k *worker) whenDone() {
	if len(k.tasks) > 0 {
		k.after(100*time.Millisecond, "waits for open deliveries", k.whenDone)
		return
	}
	s := k.w.server
	gone := func() {
		k.w.note(k.name, "has left")
		k.die()
		k.w.after(k.w.between(100*time.Millisecond, 3*time.Second), nil, k.name+" is started again", k.start)
	}
	k.entered = false
	revision := k.revision
	k.w.call(k.party, "leave", func() func() { s.leave(k.name, revision); return gone }, gone)
}

// cancel receives a request to cancel an attempt.
func (k *worker) cancel(run jobs.RunID, c *jobs.CancelAttempt, signed code) {
	for _, t := range k.tasks {
		t.Cancelled(run, c, signed.signature())
	}
}

// answered receives the answer to a question.
func (k *worker) answered(a *jobs.Answer, signed code) {
	for _, t := range k.tasks {
		t.Answered(a, signed.signature())
	}
}

// probed receives the question whether the worker still runs an attempt that it
// has claimed.
func (k *worker) probed(p *jobs.Probe) {
	if p.Incarnation != k.self.Incarnation || slices.ContainsFunc(k.tasks, func(t *task) bool { return t.Nonce() == p.Nonce }) {
		return
	}
	k.w.note(k.name, "does not run the probed attempt", p.Run, p.Module, p.Attempt)
	on := uint64(k.link) //nolint:gosec // counts up from 0
	k.spawn(func(*coroutine) { _ = k.self.Probed(k.work, on, p) })
}

// cells is the log of runs for a worker's deliveries.
type cells struct{ k *worker }

func (l cells) Connection() uint64 { return uint64(l.k.link) } //nolint:gosec // counts up from 0

func (l cells) Append(ctx context.Context, on uint64, cell attempt.Cell, expect uint64, rec jobs.Record) (seq uint64, err error) {
	if on != l.Connection() {
		return 0, attempt.ErrReconnected
	}
	refused := false
	err = l.k.ask(ctx, "append "+kindOf(&rec), func() func() { //nolint:contextcheck // as above
		at := l.k.w.server.append(cell.Run, cell.Module, expect, code(cell.Key), rec)
		return func() { seq, refused = at, at == 0 }
	})
	if err == nil && refused {
		err = attempt.ErrConflict
	}
	return seq, err
}

func (l cells) Last(ctx context.Context, cell attempt.Cell) (e jobs.Entry, err error) {
	found := false
	err = l.k.ask(ctx, "read the cell", func() func() {
		log := l.k.w.server.logs[cell.Run]
		i, ok := log.newest[cell.Module]
		var last jobs.Entry
		if ok {
			last = log.entries[i]
			last.Auth = verified(log.signed[i], cell.Key)
		}
		return func() { e, found = last, ok }
	})
	if err == nil && !found {
		err = attempt.ErrNotFound
	}
	return e, err
}

func (l cells) Ended(ctx context.Context, run jobs.RunID) (ended bool, err error) {
	err = l.k.ask(ctx, "read the end", func() func() {
		is := l.k.w.server.logs[run].ended
		return func() { ended = is }
	})
	return ended, err
}

// verified is what the holder of a key knows of the writer of a record.
func verified(signed code, key []byte) jobs.Authenticity {
	switch {
	case len(key) == 0:
		return jobs.Unverified
	case signed.signature()(key):
		return jobs.Verified
	}
	return jobs.Forged
}

// Ask sends a question to all orchestrators. The one that leads the run answers.
func (l cells) Ask(_ context.Context, run jobs.RunID, q jobs.Question) error {
	w, k := l.k.w, l.k
	w.tell(k.party, "send a question", func() {
		w.note("nats", "forwards a question", run, q.Module, q.Attempt, "by", q.Worker, "at", q.Sequence)
		w.forger.hears(run, &q, k)
		for _, o := range w.orchestrators {
			if o.alive && !o.cutIn && o.connected() && !w.chance(w.net.loss) {
				w.after(w.delay(), o.party, "receives a question", func() { o.answer(run, &q, k) })
			}
		}
	})
	return nil
}
