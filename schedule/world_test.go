package schedule_test

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// world is everything around a run's decisions: the log with its
// compare-and-set, the queue, workers that run jobs, an orchestrator that is
// behind, dies and is replaced. A rapid.T chooses what happens next.
type world struct {
	t    *rapid.T
	pipe *pipeline.Pipeline
	now  time.Time

	log   []jobs.Entry
	last  map[string]uint64 // subject → last sequence
	truth *schedule.Run     // folds every entry at once: what the log says

	run        *schedule.Run // what the orchestrator has folded
	dispatcher *schedule.Dispatcher
	fleet      *schedule.Fleet
	folded     int // entries of log
	epoch      uint64
	pending    []schedule.Action // decided, not yet carried out

	queue   map[jobs.AttemptID]schedule.Publish
	working map[jobs.AttemptID]*execution
	workers map[string]bool
	cluster cluster
	flights flights
	serial  int

	events   []report.Event
	outcomes map[jobs.AttemptID]int
	started  map[jobs.AttemptID]bool
	cancels  int
}

type execution struct {
	id      jobs.AttemptID
	node    int
	worker  string
	claimed uint64 // sequence of the claim, 0 before
	fence   uint64
	keyed   bool
	dead    bool // its worker is gone
}

var epochStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const testTTL = 3 * time.Second

func newWorld(t *rapid.T, pipe *pipeline.Pipeline, workers int) *world {
	w := &world{
		t: t, pipe: pipe, now: epochStart, last: map[string]uint64{},
		queue: map[jobs.AttemptID]schedule.Publish{}, working: map[jobs.AttemptID]*execution{},
		workers: map[string]bool{}, outcomes: map[jobs.AttemptID]int{}, started: map[jobs.AttemptID]bool{},
		cluster: cluster{map[string][]jobs.AttemptID{}, map[string]int{}},
		flights: flights{held: map[jobs.AttemptID]bool{}},
	}
	w.truth = schedule.NewRun(func(e report.Event) { w.events = append(w.events, e) })
	w.write("spec", "", 0, jobs.Record{Spec: &jobs.Spec{Run: "r", Pipeline: pipe}})
	for range workers {
		w.addWorker()
	}
	w.takeOver()
	return w
}

// write is the server's compare-and-set.
func (w *world) write(subject string, cell jobs.ModuleID, expect uint64, rec jobs.Record) bool {
	if w.last[subject] != expect {
		return false
	}
	e := jobs.Entry{Sequence: uint64(len(w.log)*3 + 1), Time: w.now, Cell: cell, Record: rec}
	w.log = append(w.log, e)
	w.last[subject] = e.Sequence
	if err := w.truth.Apply(e); err != nil {
		w.t.Fatalf("the log does not fold: %v", err)
	}
	if o := rec.Outcome; o != nil {
		id := jobs.AttemptID{Module: cell, Attempt: o.Attempt}
		if w.outcomes[id]++; w.outcomes[id] > 1 {
			w.t.Fatalf("%v has two outcomes", id)
		}
	}
	return true
}

func cellSubject(t jobs.ModuleID) string { return "mod " + string(t) }

func (w *world) addWorker() {
	w.serial++
	w.workers[fmt.Sprintf("w%d", w.serial)] = true
}

// takeOver replaces the orchestrator: a fold of the log, an empty memory.
func (w *world) takeOver() {
	w.epoch++
	w.write("ctl", "", w.last["ctl"], jobs.Record{Takeover: &jobs.Takeover{Epoch: w.epoch, Orchestrator: fmt.Sprint(w.epoch)}})
	run, err := schedule.Load(w.log, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.run, w.folded = run, len(w.log)
	w.fleet = schedule.NewFleet(testTTL)
	for _, name := range slices.Sorted(maps.Keys(w.workers)) {
		w.fleet.Heartbeat(w.registered(name), w.now)
	}
	w.fleet.WatchSynced(w.now)
	w.dispatcher = schedule.NewDispatcher(run, w.fleet)
	w.pending = nil
	clear(w.flights.held) // entries of an older orchestrator follow the newer one
}

func (w *world) registered(name string) jobs.WorkerInfo {
	return jobs.WorkerInfo{Name: name, Incarnation: name, Slots: 2, LanesSeen: 1 << 40, Capabilities: jobs.Capabilities{OS: "linux"}}
}

func (w *world) decide() time.Time {
	actions, wake := w.dispatcher.Decide(w.now)
	w.pending = append(w.pending, actions...)
	return wake
}

// fold has the orchestrator read n more entries.
func (w *world) fold(n int) {
	for ; n > 0 && w.folded < len(w.log); n-- {
		if err := w.run.Apply(w.log[w.folded]); err != nil {
			w.t.Fatal(err)
		}
		w.folded++
	}
}

// perform carries out the i-th pending action.
func (w *world) perform(i int) {
	a := w.pending[i]
	w.pending = slices.Delete(w.pending, i, i+1)
	switch a := a.(type) {
	case schedule.Prepare:
		w.dispatcher.Prepared(a.Lane, 1)
	case schedule.Publish:
		if _, there := w.queue[a.ID()]; !there {
			w.queue[a.ID()] = a
		}
	case schedule.Close:
		if a.Purge != nil {
			delete(w.queue, *a.Purge)
		}
		w.write(cellSubject(a.Cell), a.Cell, a.Expect, jobs.Record{Outcome: &a.Outcome})
	case schedule.Lock:
		w.dispatcher.Locked(a.Node, a.ID, w.cluster.lock(a))
	case schedule.Unlock:
		w.unlock(a)
	case schedule.Lookup:
		w.dispatcher.Looked(a, w.lookUp(a))
	case schedule.Conclude:
		w.conclude(a)
	case schedule.FindDirs:
		w.findDirs(a)
	case schedule.KeepDirs:
		w.dispatcher.DirsKept()
	case schedule.Write:
		w.write("ctl", "", a.Expect, a.Record)
	case schedule.CancelRun:
		w.write("cancel", "", a.Expect, jobs.Record{Cancel: &a.Cancel})
	case schedule.Ask:
		id := jobs.AttemptID{Module: a.Cancel.Module, Attempt: a.Cancel.Attempt}
		if x := w.working[id]; x != nil && !x.dead {
			w.commit(x, jobs.Outcome{Status: report.AttemptCancelled})
		}
	case schedule.Audit:
		if _, there := w.queue[a.ID]; !there && w.working[a.ID] == nil {
			w.dispatcher.Missing(a.ID)
		}
	case schedule.Finish:
		w.finish(a)
	case schedule.Probe: // its workers hold what they have claimed
	default:
		w.t.Fatalf("an action that the world does not know: %T", a)
	}
}

func (w *world) finish(a schedule.Finish) {
	if !w.write("end", "", 0, jobs.Record{End: &a.End}) {
		return
	}
	for id, x := range w.working {
		if x.claimed != 0 && !x.dead {
			w.t.Fatalf("%v runs after the end of the run", id)
		}
	}
	clear(w.queue)
}

// start has a worker take a job; it checks what may never happen.
func (w *world) start(id jobs.AttemptID, worker string) {
	job := w.queue[id]
	delete(w.queue, id)
	x := &execution{id: id, node: job.Node, worker: worker, fence: job.Fence, keyed: job.Keyed}
	doubtful := job.MaybeDuplicate
	if doubtful && w.last[cellSubject(id.Module)] != job.Fence {
		return // reads the cell first, and finds the job decided
	}
	if job.Keyed && !w.claim(x) {
		return
	}
	w.checkStart(x)
	w.working[id] = x
	w.started[id] = true
}

func (w *world) claim(x *execution) bool {
	rec := jobs.Record{Claim: &jobs.Claim{Attempt: x.id.Attempt, Worker: x.worker, Incarnation: x.worker, Nonce: "n", Started: w.now}}
	if !w.write(cellSubject(x.id.Module), x.id.Module, x.fence, rec) {
		return false
	}
	x.claimed = w.last[cellSubject(x.id.Module)]
	return true
}

// commit writes the outcome of an execution, which is over then.
func (w *world) commit(x *execution, o jobs.Outcome) {
	delete(w.working, x.id)
	expect := x.fence
	if x.claimed != 0 {
		expect = x.claimed
	}
	o.Attempt, o.Worker, o.Nonce, o.Started, o.Finished = x.id.Attempt, x.worker, "n", w.now.Add(-time.Millisecond), w.now
	w.write(cellSubject(x.id.Module), x.id.Module, expect, jobs.Record{Outcome: &o})
}

// checkStart: a module never starts before its needs ended, and keys and
// limits are never exceeded.
func (w *world) checkStart(x *execution) {
	m := w.pipe.Modules[x.node]
	for _, need := range m.Needs {
		if s := w.status(need.Module); !s.Terminal() {
			w.t.Fatalf("%s starts while %s is %s", m.Name, need.Module, s)
		}
	}
	w.checkLocks(x)
	if !x.keyed {
		return
	}
	keys, limits, exclusive, others := map[string]int{}, map[string]int{}, m.Policy.Exclusive, 0
	count := func(p *pipeline.Module) {
		for _, k := range p.Policy.Keys {
			keys[k]++
		}
		for _, l := range p.Policy.Limits {
			limits[l]++
		}
	}
	count(m)
	for _, y := range w.working {
		if y.dead {
			continue
		}
		others++
		exclusive = exclusive || w.pipe.Modules[y.node].Policy.Exclusive
		count(w.pipe.Modules[y.node])
	}
	for k, n := range keys {
		if n > 1 {
			w.t.Fatalf("key %s is held %d times", k, n)
		}
	}
	for l, n := range limits {
		if n > w.pipe.Limits[l] {
			w.t.Fatalf("limit %s of %d is held %d times", l, w.pipe.Limits[l], n)
		}
	}
	if exclusive && others > 0 {
		w.t.Fatalf("%s starts beside %d others, and one has to be alone", m.Name, others)
	}
}

func (w *world) status(name string) report.Status { return w.truth.StatusOf(name) }

// kill ends a worker without a word.
func (w *world) kill(name string) {
	delete(w.workers, name)
	for _, x := range w.working {
		if x.worker == name {
			x.dead = true
		}
	}
	w.fleet.Removed(name, false)
	// What it had taken and not acknowledged comes back for others.
	for id, x := range w.working {
		if x.worker == name && x.claimed == 0 {
			delete(w.working, id)
			w.queue[id] = schedule.Publish{Node: x.node, Job: &jobs.Job{Module: id.Module, Attempt: id.Attempt, Fence: x.fence, Keyed: x.keyed, MaybeDuplicate: true}}
		}
	}
}
