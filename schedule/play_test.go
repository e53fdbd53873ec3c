package schedule_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// player plays a run of a pipeline file from beginning to end, one action
// after the other: every job that is published runs immediately and ends as the
// script says.
type player struct {
	t      *testing.T
	run    *schedule.Run
	d      *schedule.Dispatcher
	now    time.Time
	seq    uint64
	last   map[string]uint64
	events []report.Event
	order  []string // names, as attempts start
	ends   func(name string, attempt jobs.Attempt) jobs.Outcome
	// before is called ahead of every round; it may write to the log.
	before func(p *player, round int)
	// others carries out actions in the place of perform, and reports whether it did.
	others func(schedule.Action) bool
	queue  []schedule.Publish
	most   int                   // jobs out at the same time
	jobs   map[string]*jobs.Job  // the newest of each module
	stored map[string]jobs.Value // by digest: what the log holds by reference
}

func ok(string, jobs.Attempt) jobs.Outcome { return jobs.Outcome{Status: report.AttemptSucceeded} }

// failing makes the named modules fail with exit code 1, every time.
func failing(names ...string) func(string, jobs.Attempt) jobs.Outcome {
	return func(name string, _ jobs.Attempt) jobs.Outcome {
		if slices.Contains(names, name) {
			code := 1
			return jobs.Outcome{Status: report.AttemptFailed, ExitCode: &code, Error: "exit code 1"}
		}
		return jobs.Outcome{Status: report.AttemptSucceeded}
	}
}

func parse(t *testing.T, src string) *pipeline.Pipeline {
	t.Helper()
	file, err := pipeline.Parse("test.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	p, err := file.Bind(nil, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func newPlayer(t *testing.T, src string, ends func(string, jobs.Attempt) jobs.Outcome) *player {
	t.Helper()
	return newPlayerOf(t, &jobs.Spec{Run: "r", Pipeline: parse(t, src)}, ends)
}

func newPlayerOf(t *testing.T, spec *jobs.Spec, ends func(string, jobs.Attempt) jobs.Outcome) *player {
	t.Helper()
	p := &player{t: t, now: epochStart, last: map[string]uint64{}, jobs: map[string]*jobs.Job{}, ends: ends}
	p.run = schedule.NewRun(func(e report.Event) { p.events = append(p.events, e) })
	p.write("spec", "", jobs.Record{Spec: spec})
	p.write("ctl", "", jobs.Record{Takeover: &jobs.Takeover{Epoch: 1}})
	return p
}

func (p *player) write(subject string, cell jobs.ModuleID, rec jobs.Record) {
	p.t.Helper()
	p.seq++
	p.last[subject] = p.seq
	if err := p.run.Apply(jobs.Entry{Sequence: p.seq, Time: p.now, Cell: cell, Record: rec}); err != nil {
		p.t.Fatal(err)
	}
}

// fleet is one worker for all, of this many slots; none for 0.
func (p *player) fleet(slots int) *schedule.Fleet {
	f := schedule.NewFleet(testTTL)
	if slots > 0 {
		f.Heartbeat(jobs.WorkerInfo{Name: "w", Incarnation: "w", Slots: slots, LanesSeen: 1 << 40, Capabilities: jobs.Capabilities{
			OS: "linux", Tools: map[string]string{"sh": ""}, Secrets: []string{"a"},
		}}, p.now)
	}
	f.WatchSynced(p.now)
	return f
}

// play plays the run to its end and returns the report.
func (p *player) play(slots int) *report.Report {
	p.t.Helper()
	p.d = schedule.NewDispatcher(p.run, p.fleet(slots))
	for round := range 10_000 {
		if p.run.Ended() != nil {
			rep, err := p.run.Report(nil)
			if err != nil {
				p.t.Fatal(err)
			}
			return rep
		}
		if p.before != nil {
			p.before(p, round)
		}
		actions, wake := p.d.Decide(p.now)
		for _, a := range actions {
			p.perform(a)
		}
		p.most = max(p.most, len(p.queue))
		switch {
		case len(p.queue) > 0:
			p.finishFirst()
		case len(actions) == 0 && wake.IsZero():
			p.t.Fatalf("the run is stuck after %d rounds", round)
		case len(actions) == 0:
			p.now = p.now.Add(max(time.Millisecond, wake.Sub(p.now)))
		}
	}
	p.t.Fatal("the run does not end")
	return nil
}

func (p *player) perform(a schedule.Action) {
	p.t.Helper()
	if p.others != nil && p.others(a) {
		return
	}
	switch a := a.(type) {
	case schedule.Prepare:
		p.d.Prepared(a.Lane, 1)
	case schedule.Fetch:
		p.fetch(a)
	case schedule.Publish:
		p.order = append(p.order, p.run.Module(a.Node).Name)
		p.queue = append(p.queue, a)
		p.jobs[a.Name] = a.Job
	case schedule.Close:
		p.queue = slices.DeleteFunc(p.queue, func(q schedule.Publish) bool { return a.Purge != nil && q.ID() == *a.Purge })
		if p.last[string(a.Cell)] == a.Expect {
			p.write(string(a.Cell), a.Cell, jobs.Record{Outcome: &a.Outcome})
		}
	case schedule.Write:
		p.write("ctl", "", a.Record)
	case schedule.CancelRun:
		p.write("cancel", "", jobs.Record{Cancel: &a.Cancel})
	case schedule.Finish:
		p.write("end", "", jobs.Record{End: &a.End})
	case schedule.Ask, schedule.Audit:
	default:
		p.t.Fatalf("unknown action %T", a)
	}
}

// fetch answers from what is stored.
func (p *player) fetch(a schedule.Fetch) {
	var values []jobs.Value
	for _, ref := range a.Refs {
		v, ok := p.stored[ref.Value.Ref.SHA256]
		if !ok {
			p.d.Fetched(a, nil, fmt.Errorf("fetch the outputs of %s: not found", ref.Need))
			return
		}
		values = append(values, v)
	}
	p.d.Fetched(a, values, nil)
}

// finishFirst ends the job that has waited longest.
func (p *player) finishFirst() {
	p.t.Helper()
	job := p.queue[0]
	p.queue = p.queue[1:]
	started := p.now
	p.now = p.now.Add(time.Second)
	o := p.ends(p.run.Module(job.Node).Name, job.Attempt)
	o.Attempt, o.Worker, o.Started, o.Finished = job.Attempt, "w", started, p.now
	if p.last[string(job.Module)] == job.Fence {
		p.write(string(job.Module), job.Module, jobs.Record{Outcome: &o})
	}
}

func (p *player) cancel(id string) {
	p.write("cancel", "", jobs.Record{Cancel: &jobs.Cancel{ID: id, By: "me", Reason: "enough"}})
}

// ended is every module's status, and its reason or error in brackets.
func ended(r *report.Report) map[string]string {
	all := map[string]string{}
	for _, m := range r.Modules {
		text := m.Reason
		if m.Error != "" {
			text = m.Error
		}
		all[m.Name] = string(m.Status)
		if text != "" {
			all[m.Name] += " (" + text + ")"
		}
	}
	return all
}

func listing(m map[string]string) string {
	s := ""
	for _, k := range slices.Sorted(maps.Keys(m)) {
		s += fmt.Sprintf("%s: %s\n", k, m[k])
	}
	return s
}

// decideUntilPublished carries decisions out until a job is published.
func (p *player) decideUntilPublished() schedule.Publish {
	p.t.Helper()
	for range 10 {
		actions, _ := p.d.Decide(p.now)
		for _, a := range actions {
			p.perform(a)
		}
		if len(p.queue) > 0 {
			return p.queue[0]
		}
	}
	p.t.Fatal("nothing is published")
	return schedule.Publish{}
}

// decideCloses reports whether a decision closes an attempt as lost.
func (p *player) decideCloses() bool {
	actions, _ := p.d.Decide(p.now)
	return slices.ContainsFunc(actions, func(a schedule.Action) bool {
		c, ok := a.(schedule.Close)
		return ok && c.Outcome.Status == report.AttemptLost
	})
}
