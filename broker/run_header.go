package broker

import (
	"encoding/json"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// headerRun is the header of a specification's message from which lists of runs
// are made: a report.Run in JSON, without what only the end of the run tells.
const headerRun = "Mp-Run"

// maxRunHeader bounds headerRun, in bytes. A longer one is left out, and lists
// then read the specification.
const maxRunHeader = 16 << 10

// addRunHeader describes a run in a header of its specification's message.
func addRunHeader(m *nats.Msg, spec *jobs.Spec) error {
	row := report.Run{Labels: map[string]string{}}
	describe(&row, spec)
	text, err := json.Marshal(row)
	if err != nil {
		return err
	}
	if len(text) <= maxRunHeader {
		jetstream.SetHeader(m, headerRun, string(text))
	}
	return nil
}

// describe copies into a row what a specification says about its run.
func describe(row *report.Run, spec *jobs.Spec) {
	row.Run, row.StartedBy, row.Commit, row.RetryOf = string(spec.Run), spec.StartedBy, spec.Commit, string(spec.RetryOf)
	if spec.Labels != nil {
		row.Labels = spec.Labels
	}
	if spec.Pipeline != nil {
		row.Pipeline, row.Modules = spec.Pipeline.Name, len(spec.Pipeline.Modules)
	}
}

// rowOf reads headerRun. Without the header, or when it is damaged, the row has
// no Labels.
func rowOf(h nats.Header) report.Run {
	var row report.Run
	text := h.Get(headerRun)
	if text == "" || len(text) > maxRunHeader || json.Unmarshal([]byte(text), &row) != nil {
		return report.Run{}
	}
	return report.Run{
		Pipeline: row.Pipeline, Labels: row.Labels, StartedBy: row.StartedBy, Commit: row.Commit, RetryOf: row.RetryOf,
		Modules: max(0, row.Modules),
	}
}
