package locks_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/modpipe/modpipe/internal/locks"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/schedule"
)

// site is a bucket with one lock, and what is known of runs.
type site struct {
	holders  []jobs.Holder
	revision uint64
	cells    map[jobs.Token]jobs.Record // of all runs
	epochs   map[jobs.RunID]uint64      // of the runs that somebody decides for
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

func (s *site) Last(_ context.Context, _ jobs.RunID, cell jobs.Token) (jobs.Record, error) {
	return s.cells[cell], nil
}

func (s *site) Over(context.Context, jobs.RunID) (bool, error) { return false, nil }

func (s *site) Load(context.Context, jobs.RunID) (*schedule.Run, error) { panic("not asked for") }

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
	return jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: jobs.AttemptSucceeded}}
}

// TestWhatAnElderHasEntered: a write of an orchestrator that was replaced may
// arrive when its attempt is closed. The newer one does not know of it, so
// whoever is refused because of it looks into the log.
func TestWhatAnElderHasEntered(t *testing.T) {
	lock := jobs.Lock{Name: "db", Max: 1}
	for _, tt := range []struct {
		name  string
		by    jobs.Holder
		cell  jobs.Record
		taken bool
	}{
		{"of our run, closed", jobs.Holder{Run: "r1", Token: "a", Attempt: 1, Epoch: 1}, closed(), true},
		{"of our run, open", jobs.Holder{Run: "r1", Token: "a", Attempt: 2, Epoch: 1}, closed(), false},
		{"of our run, by us", jobs.Holder{Run: "r1", Token: "a", Attempt: 1, Epoch: 2}, closed(), false},
		{"of another, closed", jobs.Holder{Run: "r2", Token: "a", Attempt: 1, Epoch: 1}, closed(), true},
		{"of another, open", jobs.Holder{Run: "r2", Token: "a", Attempt: 2, Epoch: 1}, closed(), false},
		{"of another, by who decides for it", jobs.Holder{Run: "r2", Token: "a", Attempt: 1, Epoch: 3}, closed(), false},
	} {
		s := &site{holders: []jobs.Holder{tt.by}, cells: map[jobs.Token]jobs.Record{"a": tt.cell}, epochs: map[jobs.RunID]uint64{"r2": 3}}
		taker := &locks.Taker{Run: "r1", Epoch: 2, Bucket: s, Logs: s, Leases: s, Clock: s, Logger: slog.New(slog.DiscardHandler)}
		by, err := taker.Take(t.Context(), jobs.Key{Token: "b", Attempt: 1}, []jobs.Lock{lock})
		if err != nil || (by == nil) != tt.taken {
			t.Errorf("%s: refused by %+v, %v", tt.name, by, err)
		}
	}
}
