package progress

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/safetext"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

const (
	slowestKept = 8   // of the modules that have ended
	lastWidth   = 400 // bytes of a module's last line
	notesKept   = 100
)

// liveState is the state of a run, folded from its events. The cost of an event does not
// depend on the size of the run. The state does not depend on a terminal. It is not safe
// for concurrent use.
type liveState struct {
	run      string
	pipeline string
	started  time.Time
	ended    string // the run's status, once it has ended
	stopping bool   // modules are being cancelled, so that the end has no estimate

	modules map[string]*liveModule
	total   int
	counts  map[report.Status]int // of known modules, by status
	unheard int                   // modules of the run that no event and no pipeline has named
	hidden  int                   // skipped because they were not selected

	running  liveList // the longest first
	retrying liveList
	queued   liveList // ready, and with a key or a limit, or on a lane that no worker serves
	failed   []*liveModule
	slowest  []*liveModule // the slowest first, at most slowestKept

	lanes   map[jobs.Lane]*liveLane
	holders map[string][]*liveModule // key or limit → the running modules that hold it
	limits  map[string]int
	alone   *liveModule // the running module that may not run beside others
	workers map[string]*liveWorker
	names   []string // of workers, sorted

	notes []string
	eta   liveETA
	seen  uint64 // events
}

// liveModule is a module and its state.
type liveModule struct {
	name    string
	status  report.Status
	attempt int
	worker  string
	started time.Time     // of the attempt
	took    time.Duration // once it has ended
	why     string        // of a failure, a retry or a wait
	closest string        // of a wait for a worker: the worker that comes closest
	retryAt time.Time
	last    string // the last line it wrote

	slots int
	lane  jobs.Lane // "" = unknown
	holds []string  // keys and limits
	alone bool      // never runs beside others
	index int       // of it in the pipeline, -1 = unknown

	list       *liveList
	next, prev *liveModule // in list
}

// liveLane has the modules with one set of requirements.
type liveLane struct {
	ready   int
	missing string // in words, while no worker serves it
	closest string
	spoken  *liveModule // whose wait was reported
}

type liveWorker struct {
	name  string
	slots int // 0 = unknown
	used  int
	gone  string // "lost" or "left"
}

func newLiveState(p *pipeline.Pipeline) *liveState {
	s := &liveState{
		counts:  map[report.Status]int{},
		modules: map[string]*liveModule{}, lanes: map[jobs.Lane]*liveLane{}, holders: map[string][]*liveModule{},
		workers: map[string]*liveWorker{}, limits: map[string]int{},
	}
	if p == nil {
		return s
	}
	s.pipeline, s.limits = p.Name, p.Limits
	s.modules = make(map[string]*liveModule, len(p.Modules))
	all, lane := make([]liveModule, len(p.Modules)), jobs.Lane("")
	for i, m := range p.Modules {
		l := s.add(&all[i], safetext.Line(m.Name)) // as its events will name it
		if own := jobs.LaneOf(m.Requires, m.Slots); own != lane {
			lane = own // consecutive modules share one text
		}
		l.slots, l.lane, l.index = max(1, m.Slots), lane, i
		l.holds, l.alone = append(slices.Clone(m.Policy.Keys), m.Policy.Limits...), m.Policy.Exclusive
	}
	s.total = len(p.Modules)
	s.eta.layOut(p)
	return s
}

func (s *liveState) add(m *liveModule, name string) *liveModule {
	*m = liveModule{name: name, status: report.Waiting, slots: 1, index: -1}
	s.modules[name] = m
	s.counts[report.Waiting]++
	return m
}

// module returns the module of a name. A new name is that of a module that was only
// counted before.
func (s *liveState) module(name string) *liveModule {
	m, ok := s.modules[name]
	if !ok {
		m = s.add(&liveModule{}, name)
		s.unheard = max(0, s.unheard-1)
	}
	return m
}

// done returns the number of modules that have ended.
func (s *liveState) done() (n int) {
	for status, of := range s.counts {
		if status.Terminal() {
			n += of
		}
	}
	return n
}

// event folds one event.
func (s *liveState) event(e report.Event, now time.Time) {
	s.seen++
	switch e.Event {
	case report.EventModuleOutput:
		s.module(e.Module).last = lastOf(e.Text)
	case report.EventRunStarted:
		s.run, s.pipeline, s.total, s.started = e.Run, e.Pipeline, e.Modules, notAfter(e.Time, now)
		s.unheard = max(0, e.Modules-len(s.modules))
	case report.EventModuleReady:
		s.ready(s.module(e.Module))
	case report.EventModuleStarted:
		s.start(s.module(e.Module), e, now)
	case report.EventModuleRetrying:
		s.retry(s.module(e.Module), e, now)
	case report.EventModuleEnded:
		s.end(s.module(e.Module), e)
	case report.EventFamilyExpanded:
		s.expand(e)
	case report.EventWaiting:
		s.wait(s.module(e.Module), e)
	case report.EventWorkerJoined:
		w := s.worker(e.Worker)
		w.slots, w.gone = e.Slots, ""
	case report.EventWorkerLost:
		w := s.worker(e.Worker)
		w.gone = "lost"
		if e.Reason == workerLeft {
			w.gone = workerLeft
		}
	case report.EventRunEnded:
		s.ended = e.Status
	case report.EventSecretReleased: // plain progress and the report tell of it
	}
}

func notAfter(t, now time.Time) time.Time {
	if t.IsZero() || t.After(now) { // a clock of another machine
		return now
	}
	return t
}

// lastOf returns a copy of the end of a line, so that the rest can be freed.
func lastOf(line string) string {
	if len(line) > lastWidth {
		line = strings.Clone(line[:lastWidth])
	}
	return line
}

// become sets a module's status and moves it between lists.
func (s *liveState) become(m *liveModule, to report.Status) {
	switch m.status {
	case report.Ready:
		s.lane(m).ready--
	case report.Running:
		s.release(m)
	default:
	}
	if m.list != nil {
		m.list.remove(m)
	}
	s.counts[m.status]--
	s.counts[to]++
	m.status = to
}

func (s *liveState) lane(m *liveModule) *liveLane {
	l, ok := s.lanes[m.lane]
	if !ok {
		l = &liveLane{}
		s.lanes[m.lane] = l
	}
	return l
}

func (s *liveState) ready(m *liveModule) {
	s.become(m, report.Ready)
	s.lane(m).ready++
	m.why, m.closest = "", ""
	if len(m.holds) > 0 || m.alone {
		s.queued.push(m)
	}
}

// wait handles the wait of a module. Events name the first few modules on a lane, and
// count the others.
func (s *liveState) wait(m *liveModule, e report.Event) {
	m.why, m.closest = cmp.Or(e.Missing, e.Reason, "no capable worker"), e.Closest
	if m.list == nil {
		s.queued.push(m)
	}
	if m.lane == "" {
		return
	}
	l := s.lane(m)
	if l.spoken == nil || l.spoken.status != report.Ready {
		l.spoken = m
	}
	l.missing, l.closest = m.why, m.closest
}

func (s *liveState) start(m *liveModule, e report.Event, now time.Time) {
	s.become(m, report.Running)
	if m.lane != "" {
		l := s.lane(m)
		l.missing, l.spoken = "", nil
	}
	m.attempt, m.worker, m.started, m.last, m.why = e.Attempt, s.worker(e.Worker).name, notAfter(e.Time, now), "", ""
	for _, h := range m.holds {
		s.holders[h] = append(s.holders[h], m)
	}
	if m.alone {
		s.alone = m
	}
	s.worker(m.worker).used += m.slots
	s.running.insert(m, func(a *liveModule) bool { return !a.started.After(m.started) })
}

func (s *liveState) release(m *liveModule) {
	for _, h := range m.holds {
		s.holders[h] = slices.DeleteFunc(s.holders[h], func(x *liveModule) bool { return x == m })
	}
	if s.alone == m {
		s.alone = nil
	}
	w := s.worker(m.worker)
	w.used = max(0, w.used-m.slots)
}

func (s *liveState) retry(m *liveModule, e report.Event, now time.Time) {
	s.become(m, report.Retrying)
	m.why, m.retryAt = phrase.FirstLine(cmp.Or(e.Error, e.Reason, e.Status), 200), time.Time{}
	if e.In != nil && *e.In > 0 {
		m.retryAt = notAfter(e.Time, now).Add(time.Duration(*e.In * float64(time.Second)))
	}
	s.retrying.push(m)
}

func (s *liveState) end(m *liveModule, e report.Event) {
	to := report.Status(e.Status)
	if !to.Terminal() || m.status.Terminal() {
		return
	}
	s.become(m, to)
	m.why, m.last = phrase.FirstLine(whyText(e.Error, e.Reason), 200), ""
	if e.Worker != "" {
		m.worker = s.worker(e.Worker).name // not the event's own copy
	}
	if e.Duration != nil {
		m.took = time.Duration(*e.Duration * float64(time.Second))
	}
	switch to {
	case report.Failed, report.TimedOut:
		s.failed = append(s.failed, m)
	case report.Skipped:
		if strings.HasPrefix(e.Reason, notSelected) {
			s.hidden++
		}
	case report.Cancelled:
		s.stopping = true
	case report.Succeeded:
		s.eta.learn(m.took)
	default:
	}
	s.rank(m)
}

// rank inserts a module that has ended into the slowest, if it is one of them.
func (s *liveState) rank(m *liveModule) {
	if m.took <= 0 || len(s.slowest) == slowestKept && m.took <= s.slowest[slowestKept-1].took {
		return
	}
	i, _ := slices.BinarySearchFunc(s.slowest, m, func(a, b *liveModule) int { return cmp.Compare(b.took, a.took) })
	s.slowest = slices.Insert(s.slowest, i, m)
	s.slowest = s.slowest[:min(len(s.slowest), slowestKept)]
}

// expand replaces a family by its members.
func (s *liveState) expand(e report.Event) {
	if m, ok := s.modules[e.Module]; ok {
		s.become(m, report.Waiting)
		s.counts[report.Waiting]--
		delete(s.modules, e.Module)
	} else {
		s.unheard = max(0, s.unheard-1)
	}
	s.total += e.Modules - 1
	s.unheard += e.Modules
}

func (s *liveState) worker(name string) *liveWorker {
	w, ok := s.workers[name]
	if !ok {
		w = &liveWorker{name: name}
		s.workers[name] = w
		if name != "" {
			i, _ := slices.BinarySearch(s.names, name)
			s.names = slices.Insert(s.names, i, name)
		}
	}
	return w
}

func (s *liveState) note(text string) {
	s.seen++
	if len(s.notes) == notesKept {
		s.notes = slices.Delete(s.notes, 0, 1)
	}
	s.notes = append(s.notes, text)
}

// liveList is a list linked through its modules, so that removal takes constant time.
type liveList struct {
	first, last *liveModule
	size        int
}

func (l *liveList) push(m *liveModule) { l.insert(m, func(*liveModule) bool { return true }) }

// insert inserts m after the last module that may precede it.
func (l *liveList) insert(m *liveModule, before func(*liveModule) bool) {
	at := l.last
	for at != nil && !before(at) {
		at = at.prev
	}
	m.list, m.prev = l, at
	if at == nil {
		m.next, l.first = l.first, m
	} else {
		m.next, at.next = at.next, m
	}
	if m.next == nil {
		l.last = m
	} else {
		m.next.prev = m
	}
	l.size++
}

func (l *liveList) remove(m *liveModule) {
	if m.prev == nil {
		l.first = m.next
	} else {
		m.prev.next = m.next
	}
	if m.next == nil {
		l.last = m.prev
	} else {
		m.next.prev = m.prev
	}
	m.list, m.prev, m.next = nil, nil, nil
	l.size--
}
