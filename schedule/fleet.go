package schedule

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modpipe/modpipe/jobs"
)

// Fleet is what an observer of the registry knows of the workers. It
// concludes a loss only when an entry is absent and the time to live has
// passed on the observer's own clock since it last saw the entry or began to
// watch, and the watch itself was heard of after that: the registry is empty
// after a restart of the server, a jump of the server's clock expires entries
// early, and what a worker says then may not arrive while we may still write.
type Fleet struct {
	ttl     time.Duration
	synced  bool
	since   time.Time // when the watch began, or began anew
	workers map[string]*station
	heard   map[string]time.Time // by incarnation: when its newest claim was heard of
	told    time.Time            // when the watch was last heard of; zero = nobody says
	awaited time.Time            // when it has to be heard of, for a loss that is due; zero = none is
	quiet   time.Time            // until when a worker may hold a key that the log has lost
	settled bool                 // a worker's connection has stood for the time to live: quiet is over
	version uint64               // grows when something changed that decisions depend on
	closed  bool                 // no other worker can join
}

type station struct {
	worker  jobs.WorkerInfo
	seen    time.Time // on the observer's clock
	present bool
	left    bool   // it said good-bye
	before  string // the incarnation in whose place this one came
}

// NewFleet is a fleet without workers. ttl is the registry's.
func NewFleet(ttl time.Duration) *Fleet {
	return &Fleet{ttl: ttl, workers: map[string]*station{}, heard: map[string]time.Time{}}
}

// Close says that no other worker can join.
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

// Seen takes a heartbeat. It reports whether the worker is new: not there, or
// of another incarnation, before.
func (f *Fleet) Seen(w jobs.WorkerInfo, now time.Time) bool {
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

// claimed hears of a claim, which is a sign of life as a heartbeat is: the log
// may tell of it before the registry tells of its worker, or that it is there
// again, or while it still tells of an earlier incarnation.
func (f *Fleet) claimed(c *jobs.Claim, now time.Time) { f.heard[c.Incarnation] = now }

// Gone takes the end of a worker's entry; left, when the worker removed it
// itself. It reports whether the worker was there.
func (f *Fleet) Gone(name string, left bool) bool {
	s, ok := f.workers[name]
	if !ok || !s.present {
		return false
	}
	s.present, s.left = false, left
	f.version++
	return true
}

// Restart says that the watch begins anew: what is not seen again before
// Synced is absent from then on.
func (f *Fleet) Restart() {
	for _, s := range f.workers {
		s.present, s.left = false, false
	}
	f.synced = false
	f.version++
}

// Synced says that everything which was in the registry has been Seen.
func (f *Fleet) Synced(now time.Time) {
	f.synced, f.since = true, now
	f.version++
}

// Heard takes a sign of the watch itself, a change or that there was none, as
// of when it arrived: what was stored before has been told. Who never calls it
// has a watch that misses nothing.
func (f *Fleet) Heard(at time.Time) {
	f.told = latest(f.told, at)
	if !f.awaited.IsZero() && !f.told.Before(f.awaited) {
		f.awaited = time.Time{}
		f.version++
	}
}

// Woke takes how late the observer looks, beside when it wanted to. One that
// was stopped has not heard what came meanwhile, a sign of life among it: its
// clock starts anew.
func (f *Fleet) Woke(late time.Duration, now time.Time) {
	if late > f.ttl/3 && now.After(f.since) {
		f.since = now
	}
}

// Shift says that now, as the caller tells it, has jumped by so much beside the
// observer's own clock: it follows the log's clock, which follows the server's,
// and that may jump. What was seen has grown no older by it.
func (f *Fleet) Shift(by time.Duration) {
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

// lost reports whether whoever claimed an attempt is lost; when that cannot
// be said yet, it returns when to look again (zero: when the watch rings).
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

// heartbeat is the newest one of whoever made a claim: when it was seen, and
// whether it names the attempt. Nothing is known of another incarnation, or of
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
