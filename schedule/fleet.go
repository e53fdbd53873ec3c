package schedule

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modpipe/modpipe/jobs"
)

// Fleet holds the workers that an observer of the registry knows. A worker is
// lost when its entry is absent, the time to live has passed on the observer's
// own clock since it last saw the entry or began to watch, and the watch has
// given a sign of life after that. The reasons: the registry is empty after a
// restart of the server; a jump of the server's clock expires entries early; and
// the next heartbeat may be delayed while our writes still arrive.
type Fleet struct {
	ttl     time.Duration
	synced  bool
	since   time.Time // when the watch started, or restarted
	workers map[string]*station
	heard   map[string]time.Time // by incarnation: when its newest claim was folded
	told    time.Time            // of the watch's last sign of life; zero = the caller gives none
	awaited time.Time            // the sign of life that a loss waits for; zero = no loss waits
	quiet   time.Time            // until when a worker may hold a key that the log has lost
	settled bool                 // a worker's connection has stood for the time to live: quiet is over
	version uint64               // grows when something changed that decisions depend on
	closed  bool                 // no other worker can join
}

type station struct {
	worker  jobs.WorkerInfo
	seen    time.Time // on the observer's clock
	present bool
	left    bool   // it removed its entry
	before  string // the incarnation that this one replaced
}

// NewFleet returns a fleet without workers. ttl is the registry's.
func NewFleet(ttl time.Duration) *Fleet {
	return &Fleet{ttl: ttl, workers: map[string]*station{}, heard: map[string]time.Time{}}
}

// Close notes that no other worker can join.
func (f *Fleet) Close() { f.closed = true }

// hopeless reports whether no worker will ever serve a lane: those that are
// there lack what it requires, and no other can join.
func (f *Fleet) hopeless(set jobs.LaneSet) bool {
	if !f.closed || !f.synced {
		return false
	}
	present := f.names()
	return len(present) > 0 && !slices.ContainsFunc(present, func(name string) bool {
		return f.workers[name].worker.Capabilities.Offer(set.Requires)
	})
}

// Worker is what a worker said of itself last, if it has been heard of.
func (f *Fleet) Worker(name string) (jobs.WorkerInfo, bool) {
	s, ok := f.workers[name]
	if !ok {
		return jobs.WorkerInfo{}, false
	}
	return s.worker, true
}

// Heartbeat takes a heartbeat. It reports whether the worker is new: it was absent
// before, or had another incarnation.
func (f *Fleet) Heartbeat(w jobs.WorkerInfo, now time.Time) bool {
	s, ok := f.workers[w.Name]
	if !ok {
		s = &station{}
		f.workers[w.Name] = s
	}
	joined := !s.present || s.worker.Incarnation != w.Incarnation
	if joined || s.worker.Draining != w.Draining || s.worker.LanesSeen != w.LanesSeen || s.worker.Slots != w.Slots || s.worker.Unable != w.Unable {
		f.version++
	}
	f.settled = f.settled || w.Settled
	before := s.before
	if s.worker.Incarnation != w.Incarnation {
		before = s.worker.Incarnation
	}
	*s = station{worker: w, seen: now, present: true, before: before}
	return joined
}

// claimed takes a claim as a sign of life: the log may show it before the registry
// shows its worker, or while the registry still shows an earlier incarnation.
func (f *Fleet) claimed(c *jobs.Claim, now time.Time) { f.heard[c.Incarnation] = now }

// Removed takes the end of a worker's entry; left, when the worker removed it
// itself. It reports whether the worker was present.
func (f *Fleet) Removed(name string, left bool) bool {
	s, ok := f.workers[name]
	if !ok || !s.present {
		return false
	}
	s.present, s.left = false, left
	f.version++
	return true
}

// WatchRestarted notes that the watch restarts: a worker without a heartbeat
// before WatchSynced is absent from then on.
func (f *Fleet) WatchRestarted() {
	for _, s := range f.workers {
		s.present, s.left = false, false
	}
	f.synced = false
	f.version++
}

// WatchSynced notes that the watch has delivered everything that was in the
// registry.
func (f *Fleet) WatchSynced(now time.Time) {
	f.synced, f.since = true, now
	f.version++
}

// WatchAlive takes a sign of life of the watch, with or without a change, and the
// time at which it arrived: everything stored earlier has been delivered. A caller
// whose watch misses nothing need not call it.
func (f *Fleet) WatchAlive(at time.Time) {
	f.told = latest(f.told, at)
	if !f.awaited.IsZero() && !f.told.Before(f.awaited) {
		f.awaited = time.Time{}
		f.version++
	}
}

// Overslept takes how late the observer wakes up. An observer that was stopped has
// missed signs of life, so the time to live of every worker starts again.
func (f *Fleet) Overslept(late time.Duration, now time.Time) {
	if late > f.ttl/3 && now.After(f.since) {
		f.since = now
	}
}

// AdjustClock takes a jump of the caller's now relative to the observer's own
// clock: now follows the log's clock, which is the server's and may jump. Workers
// that were seen have grown no older by it.
func (f *Fleet) AdjustClock(by time.Duration) {
	for _, t := range []*time.Time{&f.since, &f.told, &f.awaited, &f.quiet} {
		if !t.IsZero() {
			*t = t.Add(by)
		}
	}
	for _, s := range f.workers {
		s.seen = s.seen.Add(by)
	}
	for name, at := range f.heard {
		f.heard[name] = at.Add(by)
	}
}

// lost reports whether the worker that claimed an attempt is lost. While that is
// unknown, it returns when to check again (zero: when the watch reports).
func (f *Fleet) lost(c *jobs.Claim, now time.Time) (bool, time.Time) {
	if !f.synced {
		return false, time.Time{}
	}
	since := latest(f.since, f.heard[c.Incarnation])
	s, ok := f.workers[c.Worker]
	switch {
	case ok && s.present && s.worker.Incarnation == c.Incarnation:
		return false, time.Time{}
	case ok && s.left && s.worker.Incarnation == c.Incarnation,
		ok && s.present && s.before == c.Incarnation:
		return true, time.Time{}
	case ok && s.worker.Incarnation == c.Incarnation:
		since = latest(since, s.seen)
	}
	due := since.Add(f.ttl)
	switch {
	case now.Before(due):
		return false, due
	case !f.told.IsZero() && f.told.Before(due):
		if f.awaited.IsZero() || due.Before(f.awaited) {
			f.awaited = due
		}
		return false, time.Time{}
	}
	return true, time.Time{}
}

// heartbeat is the newest one of the worker that made a claim: when it arrived,
// and whether it names the attempt. Nothing is known of another incarnation, or of
// a worker that names as many as it can.
func (f *Fleet) heartbeat(run jobs.RunID, moduleID jobs.ModuleID, c *jobs.Claim) (seen time.Time, named, known bool) {
	s, ok := f.workers[c.Worker]
	if !ok || !s.present || s.worker.Incarnation != c.Incarnation {
		return time.Time{}, false, false
	}
	named = slices.ContainsFunc(s.worker.Running, func(e jobs.RunningEntry) bool {
		return e.Run == run && e.Module == moduleID && e.Attempt == c.Attempt && (e.Nonce == c.Nonce || e.Nonce == "")
	})
	return s.seen, named, true
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// capable lists the workers that serve a lane, and says whether one may yet
// prove to: it has not looked at the lane.
func (f *Fleet) capable(set jobs.LaneSet, revision uint64) (names []string, undecided bool) {
	for name, s := range f.workers {
		switch {
		case !s.present || s.worker.Draining:
		case s.worker.LanesSeen < revision:
			undecided = true
		case s.worker.Unable == "" && s.worker.Capabilities.Offer(set.Requires):
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, undecided
}

// lack says in words what no live worker offers of a lane, and which comes closest.
func (f *Fleet) lack(set jobs.LaneSet) (missing, closest string) {
	if unable := f.unable(set); len(unable) > 0 {
		return "a machine that can begin attempts (" + strings.Join(unable, "; ") + ")", ""
	}
	var best jobs.Capabilities
	for _, name := range f.names() {
		w := &f.workers[name].worker
		if w.Draining || w.Capabilities.Offer(set.Requires) {
			continue
		}
		if closest == "" || w.Capabilities.Closer(best, set.Requires) {
			best, closest = w.Capabilities, name
		}
	}
	if closest == "" {
		return strings.Join(append([]string{"no worker is there"}, required(set)...), "; "), ""
	}
	return strings.Join(best.Missing(set.Requires), ", "), closest
}

// unable lists the workers that offer what a lane requires and whose machines
// cannot begin attempts, with their reasons.
func (f *Fleet) unable(set jobs.LaneSet) []string {
	var texts []string
	for _, name := range f.names() {
		w := &f.workers[name].worker
		if w.Unable != "" && !w.Draining && w.Capabilities.Offer(set.Requires) {
			texts = append(texts, name+": "+w.Unable)
		}
	}
	return texts
}

func required(set jobs.LaneSet) []string {
	if words := (jobs.Capabilities{}).Missing(set.Requires); len(words) > 0 {
		return []string{"required: " + strings.Join(words, ", ")}
	}
	return nil
}

// names lists the workers that are there.
func (f *Fleet) names() []string {
	var names []string
	for name, s := range f.workers {
		if s.present {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func noWorkerText(n *node, lack jobs.LaneUnserved, hopeless bool) string {
	text := fmt.Sprintf("no capable worker within %s (queue-timeout): missing %s", n.module.Policy.QueueTimeout, lack.Missing)
	if hopeless {
		text = "no worker can run it: missing " + lack.Missing
	}
	if lack.Closest != "" {
		text += "; " + lack.Closest + " comes closest"
	}
	if hopeless {
		text += "; no other worker can join this run: provide what is missing, or use --listen or --server"
	}
	return text
}
