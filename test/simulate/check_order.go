package simulate

import (
	"slices"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// noteReady notes when modules became ready in a run that has an orchestrator.
func (t *truth) noteReady(at time.Duration) {
	t.mayStart = t.mayStart && t.cancels == 0
	for moduleID, m := range t.modules {
		s := t.state.StatusOf(m.Name)
		t.mayStart = t.mayStart && s != report.Failed && s != report.TimedOut
		if _, known := t.ready[moduleID]; s != report.Ready || !t.led {
			delete(t.ready, moduleID)
		} else if !known {
			t.ready[moduleID] = at
		}
	}
}

const (
	// overtaken is the time after a module has become ready in which a slot may
	// still take a less urgent one.
	overtaken = 100 * time.Millisecond
	// overtakenAlone is the same when one worker serves all modules. Jobs that are
	// already on their way may go first.
	overtakenAlone = 25 * time.Millisecond
)

// inOrder checks the order of jobs in a world without faults. A slot takes no
// module while a more urgent module of the same run is ready and fits the slot.
// Within a lane, jobs start in the order of their publication.
func (c *checks) inOrder(w *world, k *worker, j *jobs.Job) {
	if !w.climate.orderly {
		return
	}
	t, patience := &w.runOf(j.Run).truth, overtaken
	if len(w.workers) == 1 {
		patience = overtakenAlone
	}
	mine := t.modules[j.Module]
	if !t.mayStart || mine == nil {
		return
	}
	for moduleID, since := range t.ready {
		m := t.modules[moduleID]
		if jobs.LaneOf(m.Requires, 1) == j.Lane && len(w.workers) > 1 || m.Policy.Priority <= mine.Policy.Priority || w.now-since <= patience || !free(m) || !k.offers(jobs.LaneOf(m.Requires, 1)) {
			continue
		}
		if w.slotBeside(k, j, jobs.LaneOf(m.Requires, 1)) {
			continue
		}
		if q := w.server.jobOf(j.Run, moduleID); q != nil && (q.deliveries > 0 || w.now-q.since < sentTogether) {
			continue
		}
		ready := w.now - since
		w.after(sentTogether, nil, "checks that the more urgent job is in the queue", func() {
			if t.mayStart && t.state.StatusOf(m.Name) == report.Ready && w.server.jobOf(j.Run, moduleID) == nil {
				w.fail("%s receives %s of %s while %s, which is more urgent, has been ready for %s", k.name, mine.Name, j.Run, m.Name, ready)
			}
		})
	}
}

// slotBeside reports whether another worker has a slot for a job, and does not serve
// the lane of the more urgent one. The job was published for that slot. A worker that
// pulls sooner may take it all the same.
func (w *world) slotBeside(k *worker, j *jobs.Job, lane jobs.Lane) bool {
	return slices.ContainsFunc(w.workers, func(o *worker) bool {
		return o != k && o.offers(j.Lane) && !o.offers(lane) && o.slots-o.used >= j.Slots
	})
}

// sentTogether is the longest time between the arrivals of two jobs that were sent
// together.
const sentTogether = 10 * time.Millisecond

// jobOf returns the job of a module that is in the queue, or nil.
func (s *server) jobOf(run jobs.RunID, moduleID jobs.ModuleID) *queuedJob {
	i := slices.IndexFunc(s.queue, func(q *queuedJob) bool { return q.job.Run == run && q.job.Module == moduleID })
	if i < 0 {
		return nil
	}
	return s.queue[i]
}

// free reports whether a module waits only for a slot.
func free(m *pipeline.Module) bool {
	p := &m.Policy
	return len(p.Keys)+len(p.ClusterKeys)+len(p.Limits) == 0 && !p.Exclusive && m.If == ""
}
