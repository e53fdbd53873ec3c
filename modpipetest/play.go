package modpipetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/modpipe/modpipe/internal/call"
	"github.com/modpipe/modpipe/internal/exec/function"
	"github.com/modpipe/modpipe/internal/mask"
	"github.com/modpipe/modpipe/internal/wire"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// player carries the engine's decisions out, one after the other, on a log in
// memory and by a clock that only moves when everything waits.
type player struct {
	*Pipeline
	run   *schedule.Run
	d     *schedule.Dispatcher
	now   time.Time
	seq   uint64
	last  map[string]uint64 // subject → its last sequence
	queue []schedule.Publish
}

// maxRounds bounds a run that does not end.
const maxRounds = 1_000_000

// play plays the run to its end.
func (p *Pipeline) play() {
	p.t.Helper()
	x := &player{Pipeline: p, run: schedule.NewRun(nil), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), last: map[string]uint64{}}
	x.write("spec", "", jobs.Record{Spec: &jobs.Spec{Run: "test", Pipeline: p.graph}})
	x.write("ctl", "", jobs.Record{Takeover: &jobs.Takeover{Epoch: 1}})
	x.d = schedule.NewDispatcher(x.run, x.fleet())
	for range maxRounds {
		if x.run.Ended() != nil {
			p.state = x.run
			p.checkStubsRan()
			return
		}
		x.round()
	}
	p.t.Fatal("the run does not end")
}

func (x *player) round() {
	x.t.Helper()
	actions, wake := x.d.Decide(x.now)
	for _, a := range actions {
		x.perform(a)
	}
	switch {
	case len(x.queue) > 0:
		job := x.queue[0]
		x.queue = x.queue[1:]
		x.attempt(job)
	case len(actions) > 0:
	case wake.IsZero():
		x.t.Fatal("the run is stuck: please report this")
	case wake.After(x.now):
		x.now = wake
	default:
		x.now = x.now.Add(time.Millisecond)
	}
}

func (x *player) write(subject string, cell jobs.ModuleID, rec jobs.Record) {
	x.t.Helper()
	x.seq++
	x.last[subject] = x.seq
	if err := x.run.Apply(jobs.Entry{Sequence: x.seq, Time: x.now, Cell: cell, Record: rec}); err != nil {
		x.t.Fatal(err)
	}
}

// fleet has a worker for everything that some module requires.
func (x *player) fleet() *schedule.Fleet {
	f := schedule.NewFleet(time.Hour)
	for i, m := range x.graph.Modules {
		r := m.Requires
		c := jobs.Capabilities{OS: r.OS, Arch: r.Arch, CPUs: r.CPUs, Memory: r.Memory, Tags: r.Tags, Secrets: r.Secrets, Env: r.Env, Program: r.Program, Tools: map[string]string{}, Labels: map[string]string{}}
		for _, tool := range r.Tools {
			c.Tools[tool.Name] = tool.Min
		}
		for _, l := range r.Labels {
			c.Labels[l.Key] = l.Value
		}
		name := fmt.Sprintf("test-%d", i)
		f.Heartbeat(jobs.WorkerInfo{Name: name, Incarnation: name, Slots: max(64, m.Slots), LanesSeen: 1 << 40, Capabilities: c}, x.now)
	}
	f.WatchSynced(x.now)
	return f
}

func (x *player) perform(a schedule.Action) {
	x.t.Helper()
	switch a := a.(type) {
	case schedule.Prepare:
		x.d.Prepared(a.Lane, 1)
	case schedule.Publish:
		x.queue = append(x.queue, a)
	case schedule.Close:
		x.queue = slices.DeleteFunc(x.queue, func(q schedule.Publish) bool { return a.Purge != nil && q.ID() == *a.Purge })
		if x.last[string(a.Cell)] == a.Expect {
			x.write(string(a.Cell), a.Cell, jobs.Record{Outcome: &a.Outcome})
		}
	case schedule.Lock:
		x.d.Locked(a.Node, a.ID, true) // there are no other runs
	case schedule.Lookup:
		x.d.Looked(a, schedule.Found{}) // every module runs
	case schedule.Write:
		x.write("ctl", "", a.Record)
	case schedule.CancelRun:
		x.write("cancel", "", jobs.Record{Cancel: &a.Cancel})
	case schedule.Finish:
		x.write("end", "", jobs.Record{End: &a.End})
	case schedule.Ask, schedule.Audit, schedule.Unlock:
	default:
		x.t.Fatalf("modpipetest cannot carry out a decision of type %T: please report this", a)
	}
}

// attempt runs one attempt and writes its outcome.
func (x *player) attempt(job schedule.Publish) {
	x.t.Helper()
	m := x.run.Module(job.Node)
	started := x.now
	o, began := x.outcome(m, job)
	x.now = x.now.Add(time.Millisecond)
	o.Attempt, o.Worker, o.Finished = job.Attempt, "test", x.now
	if began {
		o.Started = started
	}
	if x.last[string(job.Module)] == job.Fence {
		x.write(string(job.Module), job.Module, jobs.Record{Outcome: &o})
	}
}

// outcome is how the attempt ends; began is false when its condition came first.
func (x *player) outcome(m *pipeline.Module, job schedule.Publish) (o jobs.Outcome, began bool) {
	s, stubbed := x.stubs[m.Name]
	if !stubbed && m.Family != "" {
		s, stubbed = x.stubs[m.Family]
	}
	if m.Func == nil && !stubbed && x.stubFiles(m) != nil {
		s, stubbed = stub{value: map[string]string{}}, true
	}
	if m.Func == nil && !stubbed {
		return noCommands(m), true
	}
	var res call.Response
	late, dir := false, ""
	if m.Func != nil {
		req := x.request(m, job.Job)
		req.Stubbed = stubbed
		if err := x.giveSecrets(job.Job, &req); err != nil && !stubbed {
			return failed(err.Error()), true
		}
		if err := x.prepareFiles(m, job.Job, &req); err != nil {
			return failed(err.Error()), true
		}
		dir = req.Dir
		res, late = x.call(m, req)
	}
	defer func() { x.leave(m, dir, &o) }()
	switch {
	case res.Skipped:
		return jobs.Outcome{Status: report.AttemptSkipped, Reason: res.Reason}, res.Began
	case late:
		return jobs.Outcome{Status: report.AttemptTimedOut, Error: fmt.Sprintf("timed out after %s", m.Policy.Timeout)}, true
	case res.Error != "":
		return jobs.Outcome{Status: report.AttemptFailed, Error: res.Error, Permanent: res.Permanent, Ignorable: res.Ignorable, RetryAfter: res.RetryAfter}, true
	case stubbed:
		return s.outcome(m), true
	case res.Prepared:
		return noCommands(m), true
	}
	return jobs.Outcome{Status: report.AttemptSucceeded, Outputs: jobs.ResultOf(res.Result)}, true
}

func noCommands(m *pipeline.Module) jobs.Outcome {
	return failed(fmt.Sprintf("modpipetest runs no commands: say what it sets with Stub(%q, map[string]string{…})", m.Name))
}

func failed(text string) jobs.Outcome {
	return jobs.Outcome{Status: report.AttemptFailed, Error: text, Permanent: true}
}

func (s stub) outcome(m *pipeline.Module) jobs.Outcome {
	if s.err != nil {
		return jobs.Outcome{Status: report.AttemptFailed, Error: s.err.Error()}
	}
	if m.Command != nil {
		values, _ := s.value.(map[string]string) // checked when the pipeline was made
		return jobs.Outcome{Status: report.AttemptSucceeded, Outputs: jobs.OutputsOf(values)}
	}
	data, err := wire.Encode(s.value)
	if err != nil {
		return failed(err.Error())
	}
	return jobs.Outcome{Status: report.AttemptSucceeded, Outputs: jobs.ResultOf(data)}
}

// call runs the function in its own run of the definition, within its timeout;
// late reports that it has exceeded it.
func (x *player) call(m *pipeline.Module, req call.Request) (res call.Response, late bool) {
	ctx := x.t.Context()
	if m.Policy.Timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, m.Policy.Timeout)
		defer stop()
	}
	res = x.program.Functions().Fresh().Call(ctx, req)
	return res, errors.Is(ctx.Err(), context.DeadlineExceeded)
}

func (x *player) request(m *pipeline.Module, job *jobs.Job) call.Request {
	req := call.Request{
		Run: "test", Pipeline: x.graph.Name, Module: m.Name, Worker: "test", Number: int(job.Attempt),
		Function: job.Func.Name, Uses: job.Func.Uses, With: job.Func.With, Params: job.Func.Params,
		Matrix: map[string]string{}, Needs: function.Needs(job.Needs), Log: x.log(m.Name),
	}
	if job.Keyed {
		req.Fence = x.seq
	}
	for _, p := range m.Matrix {
		req.Matrix[p.Axis] = p.Value
	}
	return req
}

// giveSecrets gives an attempt the secrets that Secret has given the run.
func (x *player) giveSecrets(job *jobs.Job, req *call.Request) error {
	for _, s := range job.Secrets {
		value, ok := x.secrets[s.Name]
		if !ok {
			return fmt.Errorf("the run has no secret %s: give it by modpipetest.Secret(%q, VALUE)", s.Name, s.Name)
		}
		secret := mask.Secret{Name: s.Name, Env: s.Env, File: s.File, AllowShort: s.AllowShort, Value: value}
		if err := secret.Check(); err != nil {
			return err
		}
		req.Secrets = append(req.Secrets, secret)
	}
	return nil
}

func (x *player) log(module string) io.Writer {
	if x.logs[module] == nil {
		x.logs[module] = &strings.Builder{}
	}
	return x.logs[module]
}
