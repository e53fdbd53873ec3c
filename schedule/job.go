package schedule

import (
	"slices"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// publishJob publishes the job of a module's attempt, or closes a module for
// which none can be built.
func (d *Dispatcher) publishJob(n *node, s pipeline.Scope, err error) {
	var job *jobs.Job
	if err == nil {
		job, err = d.job(n, s)
	}
	if err != nil {
		d.closeWithout(n, jobs.Outcome{Status: report.AttemptFailed, Error: err.Error()})
		return
	}
	if !d.findDirs(n, job) {
		d.sendJob(n, job, nil)
	}
}

// sendJob publishes a job. found says why its cache directories could not be looked
// up.
func (d *Dispatcher) sendJob(n *node, job *jobs.Job, found error) {
	if err := missing(job, d.run.restoresNothing(), found); err != nil {
		d.closeWithout(n, jobs.Outcome{Status: report.AttemptFailed, Error: err.Error()})
		return
	}
	m := d.memo(n.index)
	m.sent, m.audited = d.now, d.now
	d.do(Publish{Node: n.index, Job: job})
}

// job is the message that asks for the current attempt of n.
func (d *Dispatcher) job(n *node, s pipeline.Scope) (*jobs.Job, error) {
	m, spec := n.module, d.run.spec
	job := &jobs.Job{
		Run: spec.Run, Pipeline: d.run.pipeline.Name, Module: jobs.ModuleID(m.Token), Name: m.Name, Attempt: n.attempt,
		Lane: n.lane, Slots: m.Slots, Rank: d.lane(n).rank(n),
		Secrets: m.Secrets, Keyed: d.run.needsGrant(n), ClaimFirst: len(n.losses) > 0 || len(m.Secrets) > 0, MaybeDuplicate: d.memo(n.index).republish || d.run.epoch > 1,
		Fence: n.cell, Epoch: d.fencing,
		Matrix: m.Matrix, Timeout: m.Policy.Timeout, DefaultTimeout: m.Policy.TimeoutByDefault, Grace: m.Policy.Grace,
		Needs: d.run.told(n), Trace: spec.Trace, Commit: spec.Commit,
	}
	of, err := d.run.pipeline.ResolveFiles(m, s)
	if err != nil {
		return nil, err
	}
	if job.Files, err = d.run.files(n, of); err != nil {
		return nil, err
	}
	if m.Func != nil {
		with, err := d.run.pipeline.ResolveWith(m, s)
		if err != nil {
			return nil, err
		}
		job.Func = &jobs.FuncJob{Name: m.Func.Name, Uses: m.Func.Uses, With: with, Params: d.run.pipeline.Params}
	}
	if m.Command == nil && m.Func != nil {
		return job, nil
	}
	command, err := d.run.pipeline.ResolveCommand(m, s)
	if err != nil {
		return nil, err
	}
	job.Warnings = command.Warnings
	job.Command = &jobs.CommandJob{
		Run: command.Run, Shell: command.Shell, Args: command.Args, Dir: command.Dir,
		Env: slices.Concat(command.Env, spec.Env, command.ModuleEnv), PassEnv: command.PassEnv, RequiredEnv: m.Requires.Env, Stdin: command.Stdin,
	}
	return job, nil
}
