package locks_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/modpipe/modpipe/internal/locks"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// site is a bucket with one lock, and what is known of runs.
type site struct {
	holders  []jobs.Holder
	revision uint64
	cells    map[jobs.ModuleID]jobs.Record // of all runs
	epochs   map[jobs.RunID]uint64         // of the runs that an orchestrator decides for
	log      []jobs.Entry                  // of any run
}

func (s *site) Read(context.Context, jobs.Lock) (jobs.LockEntry, uint64, error) {
	return jobs.LockEntry{Holders: s.holders}, s.revision, nil
}

func (s *site) Write(_ context.Context, _ jobs.Lock, entry jobs.LockEntry, revision uint64) (bool, error) {
	if revision != s.revision {
		return false, nil
	}
	s.holders = entry.Holders
	s.revision++
	return true, nil
}

func (s *site) Last(_ context.Context, _ jobs.RunID, cell jobs.ModuleID) (jobs.Record, error) {
	return s.cells[cell], nil
}

func (s *site) Over(context.Context, jobs.RunID) (bool, error) { return false, nil }

func (s *site) Load(context.Context, jobs.RunID) (*schedule.Run, error) {
	return schedule.Load(s.log, nil)
}

func (s *site) TakeOver(context.Context, jobs.RunID) (*schedule.Run, error) { panic("not asked for") }

func (s *site) Close(context.Context, jobs.RunID, schedule.Close) (bool, error) {
	panic("not asked for")
}

func (s *site) TTL() time.Duration { return 3 * time.Second }

func (s *site) Led(_ context.Context, run jobs.RunID) (uint64, bool) {
	epoch, ok := s.epochs[run]
	return epoch, ok
}

func (s *site) Take(context.Context, jobs.RunID) (func(), bool, error) { panic("not asked for") }

func (s *site) Now() time.Time { return time.Unix(0, 0) }

func (s *site) Within(ctx context.Context, _ time.Duration) (context.Context, context.CancelFunc) {
	return context.WithCancel(ctx)
}

func closed() jobs.Record {
	return jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptSucceeded}}
}

// takenOver is the log of a run with a module a that was taken over, after what
// stands between the first takeover and the second.
func takenOver(between ...jobs.Record) []jobs.Entry {
	p := &pipeline.Pipeline{Name: "p", Modules: []*pipeline.Module{{Name: "a", Token: "a", Slots: 1}}}
	p.Modules[0].Policy.ClusterKeys, p.Modules[0].Policy.Keys = []string{"db"}, []string{"db"}
	records := []jobs.Record{{Spec: &jobs.Spec{Run: "r", Pipeline: p}}, {Takeover: &jobs.Takeover{Epoch: 1}}}
	records = append(append(records, between...), jobs.Record{Takeover: &jobs.Takeover{Epoch: 2}})
	log := make([]jobs.Entry, len(records))
	for i, r := range records {
		log[i] = jobs.Entry{Sequence: uint64(i + 1), Record: r} //nolint:gosec // a few
	}
	return log
}

func granted() jobs.Record {
	return jobs.Record{Grant: &jobs.Grant{Attempts: []jobs.AttemptID{{Module: "a", Attempt: 1}}}}
}

// TestWhatAnElderHasEntered: a write of an orchestrator that was replaced may
// arrive when its attempt is closed, or be all that it did for one. The newer
// one does not know of it, so whoever is refused because of it looks into the
// log.
func TestWhatAnElderHasEntered(t *testing.T) {
	lock := jobs.Lock{Name: "db", Max: 1}
	for _, tt := range []struct {
		name  string
		by    jobs.Holder
		cell  jobs.Record
		log   []jobs.Entry
		taken bool
	}{
		{"of our run, closed", jobs.Holder{Run: "r1", Module: "a", Attempt: 1, Epoch: 1}, closed(), nil, true},
		{"of our run, granted", jobs.Holder{Run: "r1", Module: "a", Attempt: 1, Epoch: 1}, jobs.Record{}, takenOver(granted()), false},
		{"of our run, never granted", jobs.Holder{Run: "r1", Module: "a", Attempt: 1, Epoch: 1}, jobs.Record{}, takenOver(), true},
		{"of our run, by us", jobs.Holder{Run: "r1", Module: "a", Attempt: 1, Epoch: 2}, closed(), nil, false},
		{"of another, closed", jobs.Holder{Run: "r2", Module: "a", Attempt: 1, Epoch: 1}, closed(), nil, true},
		{"of another, granted", jobs.Holder{Run: "r2", Module: "a", Attempt: 1, Epoch: 1}, jobs.Record{}, takenOver(granted()), false},
		{"of another, never granted", jobs.Holder{Run: "r2", Module: "a", Attempt: 1, Epoch: 1}, jobs.Record{}, takenOver(), true},
		{"of another, not known to be taken over", jobs.Holder{Run: "r2", Module: "a", Attempt: 1, Epoch: 2}, jobs.Record{}, takenOver(), false},
		{"of another, by its orchestrator", jobs.Holder{Run: "r2", Module: "a", Attempt: 1, Epoch: 3}, closed(), nil, false},
	} {
		s := &site{
			holders: []jobs.Holder{tt.by}, log: tt.log,
			cells: map[jobs.ModuleID]jobs.Record{"a": tt.cell}, epochs: map[jobs.RunID]uint64{"r2": 3},
		}
		taker := &locks.Taker{Run: "r1", Epoch: 2, Bucket: s, Logs: s, Leases: s, Clock: s, Logger: slog.New(slog.DiscardHandler)}
		by, err := taker.Take(t.Context(), jobs.AttemptID{Module: "b", Attempt: 1}, []jobs.Lock{lock})
		if err != nil || (by == nil) != tt.taken {
			t.Errorf("%s: refused by %+v, %v", tt.name, by, err)
		}
	}
}
