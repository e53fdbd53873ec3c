package locks_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/modpipe/modpipe/internal/locks"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// shelf are cached results of one fingerprint.
type shelf struct{ result *jobs.Outcome }

func (s *shelf) Read(context.Context, schedule.Lookup, string) *jobs.Outcome { return s.result }

func (s *shelf) Inherit(_ context.Context, state *schedule.Run, id jobs.AttemptID) {
	s.result, _ = state.OutcomeOf(id)
}

// produced is the log of a run r2 with a cached module a, after its first takeover.
func produced(cell []jobs.Entry, then ...jobs.Record) []jobs.Entry {
	m := &pipeline.Module{Name: "a", Token: "a", Slots: 1, Cache: &pipeline.Cache{Portable: true}}
	log := []jobs.Entry{
		{Record: jobs.Record{Spec: &jobs.Spec{Run: "r2", Pipeline: &pipeline.Pipeline{Name: "p", Modules: []*pipeline.Module{m}}}}},
		{Record: jobs.Record{Takeover: &jobs.Takeover{Epoch: 1}}},
	}
	log = append(log, cell...)
	for _, r := range then {
		log = append(log, jobs.Entry{Record: r})
	}
	for i := range log {
		log[i].Sequence = uint64(i + 1) //nolint:gosec // a few
	}
	return log
}

func ended(status report.AttemptStatus, hermetic bool) jobs.Entry {
	return jobs.Entry{Cell: "a", Record: jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: status, Hermetic: hermetic}}}
}

// TestFlightThatWasLeftBehind: the orchestrator of a run r2 took a flight for the
// first attempt of a, and another one decides for r2 now. r1 wants the result.
func TestFlightThatWasLeftBehind(t *testing.T) {
	takenOver := jobs.Record{Takeover: &jobs.Takeover{Epoch: 2}}
	unread := jobs.Entry{Cell: "a", Unread: errors.New("not a message")}
	for _, tt := range []struct {
		name      string
		holder    jobs.Attempt
		log       []jobs.Entry
		hit, busy bool
	}{
		{"succeeded, and not stored", 1, produced([]jobs.Entry{ended(report.AttemptSucceeded, true)}, takenOver), true, false},
		{"succeeded behind a stray record", 1, produced([]jobs.Entry{ended(report.AttemptSucceeded, true), unread}, takenOver), true, false},
		{"found files that it does not declare", 1, produced([]jobs.Entry{ended(report.AttemptSucceeded, false)}, takenOver), false, false},
		{"failed", 1, produced([]jobs.Entry{ended(report.AttemptFailed, false)}, takenOver), false, false},
		{"open", 1, produced(nil, takenOver), false, true},
		{"lost from the log", 2, produced(nil, takenOver), false, false},
		{"succeeded after the takeover", 1, append(produced(nil, takenOver), jobs.Entry{
			Sequence: 4, Cell: "a", Record: ended(report.AttemptSucceeded, true).Record,
		}), false, false},
	} {
		s := &site{
			holders: []jobs.Holder{{Run: "r2", Module: "a", Attempt: tt.holder, Epoch: 1}}, log: tt.log,
			cells: map[jobs.ModuleID]jobs.Record{"a": tt.log[len(tt.log)-1].Record}, epochs: map[jobs.RunID]uint64{"r2": 2},
		}
		taker := &locks.Taker{Run: "r1", Epoch: 1, Bucket: s, Logs: s, Leases: s, Clock: s, Logger: slog.New(slog.DiscardHandler), Ungranted: true}
		flights := locks.Flights{Taker: taker, Namespace: "main", Reads: true, Takes: true}
		found, held, _, err := flights.LookUp(t.Context(), schedule.Lookup{ID: jobs.AttemptID{Module: "b", Attempt: 1}}, "print", &shelf{})
		if err != nil || (found.Hit != nil) != tt.hit || (found.Busy != "") != tt.busy || held == (tt.hit || tt.busy) {
			t.Errorf("%s: %+v, held %v, %v", tt.name, found, held, err)
		}
		if tt.hit && len(s.holders) > 0 {
			t.Errorf("%s: the flight is kept after a hit: %+v", tt.name, s.holders)
		}
	}
}

// TestTheNewerOrchestratorTakesALostAttemptsFlight: the server has lost the end of
// the first attempt from the log, and the flight names the second.
func TestTheNewerOrchestratorTakesALostAttemptsFlight(t *testing.T) {
	s := &site{
		holders: []jobs.Holder{{Run: "r2", Module: "a", Attempt: 2, Epoch: 1}},
		log:     produced(nil, jobs.Record{Takeover: &jobs.Takeover{Epoch: 2}}),
	}
	taker := &locks.Taker{Run: "r2", Epoch: 2, Bucket: s, Logs: s, Leases: s, Clock: s, Logger: slog.New(slog.DiscardHandler), Ungranted: true}
	by, err := taker.Take(t.Context(), jobs.AttemptID{Module: "a", Attempt: 1}, []jobs.Lock{jobs.Flight("main", "print")})
	if by != nil || err != nil {
		t.Errorf("refused by %+v, %v", by, err)
	}
}
