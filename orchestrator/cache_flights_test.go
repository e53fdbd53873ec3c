package orchestrator

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modpipe/modpipe/jobs"
)

// silent is a bucket whose writes are never answered, as of a denied permission that
// may come back.
type silent struct{ writes int }

func (s *silent) Read(context.Context, jobs.Lock) (jobs.LockEntry, uint64, error) {
	return jobs.LockEntry{}, 0, nil
}

func (s *silent) Write(ctx context.Context, _ jobs.Lock, _ jobs.LockEntry, _ uint64) (bool, error) {
	s.writes++
	<-ctx.Done()
	return false, context.Cause(ctx)
}

func TestDeniedFlightEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		bucket, away := &silent{}, 2
		p := &patientFlights{Bucket: bucket, log: slog.New(slog.NewTextHandler(&said, nil)), connected: func() bool { away--; return away < 0 }}
		began := time.Now()
		for range 3 {
			if _, err := p.Write(t.Context(), jobs.Flight("main", "print"), jobs.LockEntry{}, 0); !errors.Is(err, errNoFlights) {
				t.Errorf("the error is %v", err)
			}
		}
		if took := time.Since(began); took != 3*storePatience || bucket.writes != 3 {
			t.Errorf("%d writes took %v: two without a connection, and one with it", bucket.writes, took)
		}
		if n := strings.Count(said.String(), "level=WARN"); n != 1 || !strings.Contains(said.String(), "main.print") {
			t.Errorf("it warns %d times: %s", n, said.String())
		}
	})
}

func TestFlightEndsWithTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bucket := &silent{}
		p := &patientFlights{Bucket: bucket, log: slog.New(slog.DiscardHandler), connected: func() bool { return true }}
		gone := errors.New("the run ended")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(gone) })
		if _, err := p.Write(ctx, jobs.Flight("main", "print"), jobs.LockEntry{}, 0); !errors.Is(err, gone) || p.left() {
			t.Errorf("the error is %v", err)
		}
	})
}

// TestAUseRenewsEntriesOfOtherNamespaces: a run that reads from another namespace uses
// its entries, which must not expire then. An orchestrator that is confined to one
// namespace may not write there.
func TestAUseRenewsEntriesOfOtherNamespaces(t *testing.T) {
	free, confined := &cache{namespace: "pr"}, &cache{namespace: "pr", cfg: Config{Namespace: "pr"}}
	free.cfg.Logger = slog.New(slog.DiscardHandler)
	if !free.renews("pr") || !free.renews("main") || !confined.renews("pr") {
		t.Error("what may be written is not renewed")
	}
	if confined.renews("main") {
		t.Error("an orchestrator that is confined to a namespace renews an entry of another one")
	}
	free.notRenewed("main", "print", errNoFlights)
	if free.renews("main") || !free.renews("pr") {
		t.Error("what is denied is tried again")
	}
}
