package forecast

import (
	"cmp"
	"container/heap"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// Worker is a machine of the fleet.
type Worker struct {
	Name         string
	Slots        int
	Capabilities jobs.Capabilities
}

// Start is when a module started, counted from the beginning of the run, and where.
type Start struct {
	Module string
	Worker string
	Ready  time.Duration // when its needs had ended
	Queued time.Duration // when its job was published
	At     time.Duration
}

// Forecast is how a run would go.
type Forecast struct {
	Length time.Duration // from the beginning to the end of the last module
	Starts []Start       // in order
}

// Of plays the pipeline on the workers. took is how long each module takes;
// known is what the scheduler knows of that beforehand, by module name (nil:
// nothing). Conditions are taken as true. It fails when the run would not succeed
// on these workers.
func Of(p *pipeline.Pipeline, workers []Worker, took func(*pipeline.Module) time.Duration, known map[string]time.Duration) (Forecast, error) {
	g := &game{
		workers: workers, took: took, now: beginning, free: map[string]int{}, lanes: map[jobs.Lane][]waiting{},
		supply: map[jobs.Lane]int{}, serves: map[station]bool{},
		fleet: schedule.NewFleet(time.Hour), ready: map[string]time.Time{}, last: map[jobs.ModuleID]uint64{},
	}
	g.run = schedule.NewRun(func(e report.Event) {
		if e.Event == report.EventModuleReady {
			g.ready[e.Module] = g.now
		}
	})
	for _, w := range workers {
		g.free[w.Name] = w.Slots
		g.fleet.Heartbeat(jobs.WorkerInfo{
			Name: w.Name, Incarnation: w.Name, Slots: w.Slots, LanesSeen: 1 << 40, Capabilities: w.Capabilities,
		}, g.now)
	}
	g.fleet.WatchSynced(g.now)
	return g.play(p, known)
}

var beginning = time.Unix(0, 0).UTC()

// game is a run that is being played.
type game struct {
	workers []Worker
	took    func(*pipeline.Module) time.Duration
	run     *schedule.Run
	fleet   *schedule.Fleet
	decide  *schedule.Dispatcher
	now     time.Time
	seq     uint64
	last    map[jobs.ModuleID]uint64
	queued  uint64 // jobs that were published
	lanes   map[jobs.Lane][]waiting
	supply  map[jobs.Lane]int // slots that serve a lane, once a job of it was published
	serves  map[station]bool
	free    map[string]int // slots, by worker
	coming  events
	ready   map[string]time.Time
	result  Forecast
}

// station is a worker's place at a lane.
type station struct {
	worker string
	lane   jobs.Lane
}

// waiting is a job in the queue.
type waiting struct {
	seq  uint64
	job  schedule.Publish
	from time.Time // when it was published
}

// claimAfter is how long an attempt runs before it claims, as on a worker.
const claimAfter = 20 * time.Millisecond

// execution is a job that a worker runs.
type execution struct {
	job     schedule.Publish
	worker  string
	slots   int
	started time.Time
	ends    time.Time
}

// event is what happens next to an execution: its claim, or its end.
type event struct {
	at time.Time
	of *execution
}

// events are ordered by time.
type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(a, b int) bool { return e[a].at.Before(e[b].at) }
func (e events) Swap(a, b int)      { e[a], e[b] = e[b], e[a] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }

func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func (g *game) play(p *pipeline.Pipeline, known map[string]time.Duration) (Forecast, error) {
	err := errors.Join(
		g.write("", jobs.Record{Spec: &jobs.Spec{Run: "forecast", Pipeline: unread(p)}}),
		g.write("", jobs.Record{Takeover: &jobs.Takeover{Epoch: 1}}),
	)
	if err != nil {
		return Forecast{}, err
	}
	g.run.Estimate(known)
	g.decide = schedule.NewDispatcher(g.run, g.fleet)
	for g.run.Ended() == nil {
		if err := g.step(); err != nil {
			return Forecast{}, err
		}
	}
	if end := g.run.Ended(); end.Status != report.RunSucceeded {
		return Forecast{}, fmt.Errorf("the run would end %s: %s", end.Status, end.Error)
	}
	return g.result, nil
}

// unread is a pipeline in which no module reads what others give: nothing runs
// that could give it.
func unread(p *pipeline.Pipeline) *pipeline.Pipeline {
	q := *p
	q.Modules = slices.Clone(p.Modules)
	for i, m := range p.Modules {
		c := *m
		c.If, c.Func, c.Command = "", nil, &pipeline.Command{Run: "true", Shell: "sh"}
		q.Modules[i] = &c
	}
	return &q
}

// step carries out what is decided now, or lets time pass until something ends.
func (g *game) step() error {
	actions, wake := g.decide.Decide(g.now)
	for _, a := range actions {
		if err := g.perform(a); err != nil {
			return err
		}
	}
	switch {
	case len(actions) > 0:
		g.fill()
		return nil
	case g.fill():
		return nil
	case len(g.coming) > 0 && (wake.IsZero() || !wake.Before(g.coming[0].at)):
		return g.happen()
	case wake.IsZero():
		return fmt.Errorf("no worker can run what is left of %s (%d modules)", g.run.Spec().Pipeline.Name, g.run.Live())
	}
	g.now = wake
	return nil
}

func (g *game) perform(a schedule.Action) error {
	switch a := a.(type) {
	case schedule.Prepare:
		for _, w := range g.workers {
			g.serves[station{w.Name, a.Lane}] = w.Capabilities.Offer(a.Set.Requires)
		}
		g.decide.Prepared(a.Lane, 1)
	case schedule.Lookup:
		g.decide.Looked(a, schedule.Found{}) // a forecast knows no cached results
	case schedule.Publish:
		g.queued++
		g.lanes[a.Lane] = append(g.lanes[a.Lane], waiting{g.queued, a, g.now})
		g.supply[a.Lane] = a.Rank.Supply()
	case schedule.Write:
		return g.write("", a.Record)
	case schedule.Close:
		return g.write(a.Cell, jobs.Record{Outcome: &a.Outcome})
	case schedule.CancelRun:
		return g.write("", jobs.Record{Cancel: &a.Cancel})
	case schedule.Finish:
		return g.write("", jobs.Record{End: &a.End})
	case schedule.Audit, schedule.Ask:
	default:
		return fmt.Errorf("a forecast cannot play %T: modules that depend on results or on keys of the cluster are not supported", a)
	}
	return nil
}

func (g *game) write(cell jobs.ModuleID, rec jobs.Record) error {
	g.seq++
	g.last[cell] = g.seq
	return g.run.Apply(jobs.Entry{Sequence: g.seq, Time: g.now, Cell: cell, Record: rec})
}

// fill gives the waiting jobs to free slots and reports whether there were
// some. Of the jobs that a worker can take it takes the best rank, then the
// oldest; of two workers that could take it, the one goes first that serves no
// scarcer lane.
func (g *game) fill() bool {
	some := false
	for {
		w, lane := g.next()
		if w == nil {
			return some
		}
		some = true
		queued := g.lanes[lane][0]
		job := queued.job
		g.lanes[lane] = g.lanes[lane][1:]
		slots := min(job.Slots, w.Slots)
		g.free[w.Name] -= slots
		m := g.run.Module(job.Node)
		x := &execution{job: job, worker: w.Name, slots: slots, started: g.now, ends: g.now.Add(g.took(m))}
		heap.Push(&g.coming, event{x.ends, x})
		if claim := g.now.Add(claimAfter); claim.Before(x.ends) {
			heap.Push(&g.coming, event{claim, x})
		}
		g.result.Starts = append(g.result.Starts, Start{
			Module: m.Name, Worker: w.Name,
			Ready: g.ready[m.Name].Sub(beginning), Queued: queued.from.Sub(beginning), At: g.now.Sub(beginning),
		})
	}
}

// next is the worker that takes a job next, and from which lane.
func (g *game) next() (*Worker, jobs.Lane) {
	type choice struct {
		worker   *Worker
		lane     jobs.Lane
		rank     jobs.Rank
		seq      uint64
		scarcest int
	}
	var best *choice
	for i := range g.workers {
		w := &g.workers[i]
		for lane, queue := range g.lanes {
			if len(queue) == 0 || g.free[w.Name] < min(queue[0].job.Slots, w.Slots) || !g.serves[station{w.Name, lane}] {
				continue
			}
			c := choice{w, lane, queue[0].job.Rank, queue[0].seq, g.scarcest(w)}
			if best == nil || cmp.Or(c.rank.Compare(best.rank), cmp.Compare(c.seq, best.seq), -cmp.Compare(c.scarcest, best.scarcest)) < 0 {
				best = &c
			}
		}
	}
	if best == nil {
		return nil, ""
	}
	return best.worker, best.lane
}

// scarcest is the smallest supply of the lanes that a worker serves.
func (g *game) scarcest(w *Worker) int {
	least := math.MaxInt
	for lane, supply := range g.supply {
		if g.serves[station{w.Name, lane}] {
			least = min(least, supply)
		}
	}
	return least
}

// happen lets time pass until the next event, and records it.
func (g *game) happen() error {
	e := heap.Pop(&g.coming).(event)
	g.now = e.at
	x := e.of
	id := x.job.ID()
	if e.at.Before(x.ends) {
		return g.write(id.Module, jobs.Record{Claim: &jobs.Claim{
			Attempt: id.Attempt, Worker: x.worker, Incarnation: x.worker, Nonce: x.worker, Started: x.started,
		}})
	}
	g.free[x.worker] += x.slots
	g.result.Length = g.now.Sub(beginning)
	return g.write(id.Module, jobs.Record{Outcome: &jobs.Outcome{
		Attempt: id.Attempt, Status: report.AttemptSucceeded, Worker: x.worker, Incarnation: x.worker, Nonce: x.worker,
		Started: x.started, Finished: g.now,
	}})
}
