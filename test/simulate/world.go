package simulate

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/modpipe/modpipe/jobs"
)

// epoch is the time at which every world begins.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// world is one simulated system from its beginning until its runs have ended.
// One goroutine owns all of it; a seed decides everything that happens.
type world struct {
	seed   uint64
	rand   *rand.Rand
	dice   *rand.Rand    // for what concerns the cache
	fraud  *rand.Rand    // for what concerns keys and forgery
	forger *forger       // nil: no record is forged
	signs  bool          // records are signed
	now    time.Duration // true time, which no party can read
	events eventHeap
	serial uint64 // number of the next event; orders events of one moment
	step   int
	limit  int // of steps
	trace  trace
	failed *Violation

	current *coroutine // the one that runs

	server        *server
	orchestrators []*orchestrator
	workers       []*worker
	runs          []*run
	viewers       []*viewer
	checks        checks

	climate climate
	cleared time.Duration // when all runs had ended and left nothing, for the first time
	net     weather
	fair    bool // faults are over
	names   uint64
}

// event is something that happens at a moment to one party.
type event struct {
	at     time.Duration
	serial uint64
	party  *party // nil: the world itself, or the server
	life   int    // of the party
	what   string
	f      func()
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(a, b int) bool {
	return h[a].at < h[b].at || h[a].at == h[b].at && h[a].serial < h[b].serial
}
func (h eventHeap) Swap(a, b int) { h[a], h[b] = h[b], h[a] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(event)) }

func (h *eventHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = event{}
	*h = old[:len(old)-1]
	return last
}

// newWorld creates the world of a seed. It runs no step.
func newWorld(seed uint64) *world {
	w := &world{seed: seed, rand: rand.New(rand.NewPCG(seed, 0x6d6f6470697065))}
	w.trace.sum = fnvOffset
	w.server = newServer(w)
	w.populate()
	return w
}

// run runs the world until its runs have ended, a promise is broken, or the limit
// of steps is reached.
func (w *world) run(limit int) {
	w.limit = limit
	defer w.dismiss()
	for w.step < limit && w.failed == nil {
		if w.over() {
			w.checks.atTheEnd(w)
			return
		}
		if len(w.events) == 0 {
			w.fail("no event is left, and a run has not ended")
			return
		}
		w.next()
	}
}

// next runs the next event.
func (w *world) next() {
	e := heap.Pop(&w.events).(event)
	if e.at > w.now {
		w.now = e.at
	}
	if p := e.party; p != nil {
		if p.life != e.life || !p.alive {
			return
		}
		if p.paused {
			p.held = append(p.held, e)
			return
		}
	}
	w.step++
	w.trace.begin(w, e)
	e.f()
	if e.party != nil {
		e.party.wakeAll()
	}
}

// at schedules f for a moment. f runs only if the party p still has the same life.
// p may be nil.
func (w *world) at(at time.Duration, p *party, what string, f func()) {
	w.serial++
	e := event{at: max(at, w.now), serial: w.serial, party: p, what: what, f: f}
	if p != nil {
		e.life = p.life
	}
	heap.Push(&w.events, e)
}

// after schedules f for when d has passed.
func (w *world) after(d time.Duration, p *party, what string, f func()) { w.at(w.now+d, p, what, f) }

// over reports whether every run has ended and left nothing.
func (w *world) over() bool {
	for _, q := range w.server.queue {
		if !w.runOf(q.job.Run).deserted {
			return false
		}
	}
	for _, r := range w.runs {
		if !r.clean && !r.deserted && !r.gone {
			return false
		}
	}
	for _, k := range w.workers {
		if slices.ContainsFunc(k.tasks, func(t *task) bool { return !w.runOf(t.Job().Run).deserted }) {
			return false
		}
	}
	if w.cleared == 0 {
		w.cleared = w.now
	}
	return w.fair || !w.climate.lingers && w.now-w.cleared > lingering
}

// lingering is the time for which a world continues after its runs have ended, for
// late events.
const lingering = time.Second

// dismiss ends the coroutines of the world.
func (w *world) dismiss() {
	for _, k := range w.workers {
		k.abandonAll()
	}
	for _, o := range w.orchestrators {
		o.endTasks()
	}
}

func (w *world) chance(p float64) bool { return p > 0 && w.rand.Float64() < p }

func (w *world) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.rand.Int64N(int64(most-least)+1))
}

// name returns a name that is unique in the world.
func (w *world) name(prefix string) string {
	w.names++
	return prefix + utoa(w.names)
}

// run is one run in the world, with the fold of its log.
type run struct {
	id    jobs.RunID
	clean bool // an orchestrator has seen its end and has purged its jobs
	truth truth

	readings map[string]reading // by module that reads a result

	deserted bool // no orchestrator will decide for it, and it need not end
	gone     bool // the server has lost all of it

	boot int // of the server to which it was submitted
}
