package schedule

import (
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// Step is an entry of a log and the events that its fold has given. A Step
// without an entry comes before the log is folded from its beginning, for the
// first time or again.
type Step struct {
	Entry  jobs.Entry
	Events []report.Event
	Live   int // modules that have not ended
	// Run is set with the end of the run: nothing that a report reads changes
	// any more.
	Run *Run
}

// Steps folds a log step by step.
type Steps struct {
	Run    *Run
	events []report.Event
}

// NewSteps returns a fold of a log before its first entry.
func NewSteps() *Steps {
	s := &Steps{}
	s.Run = NewRun(func(e report.Event) { s.events = append(s.events, e) })
	return s
}

// Apply folds the next entry of the log. Its errors are those of Run.Apply.
func (s *Steps) Apply(e jobs.Entry) (Step, error) {
	s.events = nil
	if err := s.Run.Apply(e); err != nil {
		return Step{}, err
	}
	step := Step{Entry: e, Events: s.events, Live: s.Run.live}
	if e.Record.End != nil && s.Run.end != nil {
		step.Run = s.Run
	}
	return step, nil
}
