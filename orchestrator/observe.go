package orchestrator

import (
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/schedule"
)

// observer passes each step of the fold of a run to Config.Observe. A takeover
// folds the log before it is recorded. The observer keeps the steps of that fold
// until the takeover has succeeded.
type observer struct {
	sink   func(schedule.Step)
	steps  *schedule.Steps
	folded []schedule.Step // the kept steps
}

// load folds a log from its beginning.
func (o *observer) load(entries []jobs.Entry) (*schedule.Run, error) {
	o.steps, o.folded = schedule.NewSteps(), make([]schedule.Step, 1, len(entries)+1)
	for _, e := range entries {
		step, err := o.steps.Apply(e)
		if err != nil {
			return nil, err
		}
		o.folded = append(o.folded, step)
	}
	return o.steps.Run, nil
}

// release passes on the kept steps.
func (o *observer) release() {
	for _, step := range o.folded {
		o.sink(step)
	}
	o.folded = nil
}

// apply folds the next entry.
func (o *observer) apply(e jobs.Entry) error {
	step, err := o.steps.Apply(e)
	if err == nil {
		o.sink(step)
	}
	return err
}

// load folds the log of the run.
func (t *takeover) load(entries []jobs.Entry) (*schedule.Run, error) {
	if t.observer == nil {
		return schedule.Load(entries, nil)
	}
	return t.observer.load(entries)
}

// observed passes on the steps of the fold that this takeover is based on.
func (t *takeover) observed() {
	if t.observer != nil {
		t.observer.release()
	}
}

// apply folds the next entry of the log.
func (l *loop) apply(e jobs.Entry) error {
	if o := l.takeover.observer; o != nil {
		return o.apply(e)
	}
	return l.state.Apply(e)
}
