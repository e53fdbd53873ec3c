package runlog_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/runlog"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// shelf holds the log of one run. Follow sends the entries and ends with the error
// of the turn.
type shelf struct {
	runlog.Logs
	entries []jobs.Entry
	ends    []error // of each Follow; context.Canceled when they are used up
	turn    int
	reads   int
}

func (s *shelf) Read(context.Context, jobs.RunID) ([]jobs.Entry, error) {
	s.reads++
	return slices.Clone(s.entries), nil
}

func (s *shelf) Follow(ctx context.Context, _ jobs.RunID, _ uint64, out chan<- jobs.Entry) error {
	s.turn++
	for _, e := range s.entries {
		select {
		case out <- e:
		case <-ctx.Done():
			return nil
		}
	}
	if s.turn <= len(s.ends) {
		return s.ends[s.turn-1]
	}
	return context.Canceled
}

func outcome(seq uint64) jobs.Entry {
	return jobs.Entry{Sequence: seq, Cell: "a", Record: jobs.Record{Outcome: &jobs.Outcome{Attempt: 1, Status: report.AttemptSucceeded}}}
}

func rejected(seq uint64, of ...uint64) jobs.Entry {
	return jobs.Entry{Sequence: seq, Record: jobs.Record{Rejected: &jobs.Rejected{Sequences: of}}}
}

func begun() []jobs.Entry {
	p := &pipeline.Pipeline{Name: "p", Modules: []*pipeline.Module{{Name: "a", Token: "a", Slots: 1}}}
	return []jobs.Entry{
		{Sequence: 1, Record: jobs.Record{Spec: &jobs.Spec{Run: "r", Pipeline: p}}},
		{Sequence: 2, Record: jobs.Record{Takeover: &jobs.Takeover{Epoch: 1, Key: "k"}}},
	}
}

// follow returns what a follower receives: sequences, negative for entries that are
// marked as forged, and 0 where they begin again.
func follow(t *testing.T, s *shelf) []int {
	t.Helper()
	out := make(chan jobs.Entry, 100)
	if err := runlog.Follow(t.Context(), s, "r", out); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	close(out)
	var got []int
	for e := range out {
		n := int(e.Sequence) //nolint:gosec // small
		if e.Auth == jobs.Forged {
			n = -n
		}
		got = append(got, n)
	}
	return got
}

// TestFollowBeginsAgainWithoutWhatIsRejected: it learns all rejections at once, so it
// begins again once.
func TestFollowBeginsAgainWithoutWhatIsRejected(t *testing.T) {
	s := &shelf{entries: append(begun(), outcome(3), rejected(4, 3), outcome(5), outcome(6), rejected(7, 5, 6))}
	if got, want := follow(t, s), []int{1, 2, 3, 0, 1, 2, -3, 4, -5, -6, 7}; !slices.Equal(got, want) {
		t.Errorf("entries %v, want %v", got, want)
	}
	if s.reads != 1 {
		t.Errorf("the log was read %d times in between, want once", s.reads)
	}
}

// TestFollowWithTheKeyIgnoresRejections: a reader that has verified the records does
// not begin again.
func TestFollowWithTheKeyIgnoresRejections(t *testing.T) {
	good, bad := outcome(3), outcome(4)
	good.Auth, bad.Auth = jobs.Verified, jobs.Forged
	s := &shelf{entries: append(begun(), good, bad, rejected(5, 3, 4))}
	if got, want := follow(t, s), []int{1, 2, 3, -4, 5}; !slices.Equal(got, want) {
		t.Errorf("entries %v, want %v", got, want)
	}
}

// TestFollowForgetsRejectionsWithTheConnection: a server that has lost the last part
// of the log may give the sequence of a rejected record to a genuine one.
func TestFollowForgetsRejectionsWithTheConnection(t *testing.T) {
	s := &shelf{entries: append(begun(), rejected(4, 3)), ends: []error{jetstream.ErrReconnected}}
	before := follow(t, s)
	if want := []int{1, 2, 4, 0, 1, 2, 4}; !slices.Equal(before, want) {
		t.Fatalf("entries %v, want %v", before, want)
	}
	again := &shelf{entries: append(begun(), rejected(4, 3)), ends: []error{jetstream.ErrReconnected}}
	lossy := &replaced{shelf: again, later: append(begun(), outcome(3))}
	out := make(chan jobs.Entry, 100)
	if err := runlog.Follow(t.Context(), lossy, "r", out); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	close(out)
	var last jobs.Entry
	for e := range out {
		last = e
	}
	if last.Sequence != 3 || last.Auth != jobs.Unverified {
		t.Errorf("the record at %d has the authenticity %d, want 3 and unverified", last.Sequence, last.Auth)
	}
}

// replaced has another log after the first Follow.
type replaced struct {
	*shelf
	later []jobs.Entry
}

func (r *replaced) Follow(ctx context.Context, run jobs.RunID, after uint64, out chan<- jobs.Entry) error {
	err := r.shelf.Follow(ctx, run, after, out)
	r.entries = r.later
	return err
}

// TestLoadLeavesOutWhatIsRejected: the fold of a whole log knows the rejections that
// come later in it.
func TestLoadLeavesOutWhatIsRejected(t *testing.T) {
	s := &shelf{entries: append(begun(), outcome(3), rejected(4, 3))}
	run, err := runlog.Load(t.Context(), s, "r")
	if err != nil {
		t.Fatal(err)
	}
	if got := run.StatusOf("a"); got != report.Ready {
		t.Errorf("a is %s, want ready: its outcome is rejected", got)
	}
}
