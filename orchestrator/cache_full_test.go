package orchestrator_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
)

// TestRunGoesOnWhileTheCacheIsFull has a bucket without room: modules run, the run says
// once that nothing is stored, and a sweep makes room.
func TestRunGoesOnWhileTheCacheIsFull(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1)
	const src = `
name: p
modules:
  a: {run: 'true', cache: {inputs: [], portable: true, key: [a]}}
  b: {run: 'true', cache: {inputs: [], portable: true, key: [b]}}
`
	s.input("1")
	wantStatuses(t, s.runCached("r1", building, cached{}), "build=succeeded use=succeeded")
	filler := &shelf{t, s.nats, s.conn}
	for i := range 50 {
		if err := filler.results().Store(s.ctx, "main", &jobs.CacheEntry{Fingerprint: fmt.Sprintf("%064x", i), Module: "m"}); err != nil {
			t.Fatal(err)
		}
	}
	wantStatuses(t, s.runCached("r0", building, cached{policy: jobs.CachePolicy{Refresh: true}}), "build=succeeded use=succeeded")
	s.resize("KV_mp-cache", 0)
	for i, run := range []jobs.RunID{"r2", "r3"} {
		rep := s.runCached(run, src, cached{})
		wantStatuses(t, rep, "a=succeeded b=succeeded")
		if len(rep.Warnings) != 1 || !strings.Contains(rep.Warnings[0], "no room") {
			t.Errorf("run %d warns %q", i, rep.Warnings)
		}
	}
	wantStatuses(t, s.runCached("r4", building, cached{}), "build=cached use=succeeded")
	if done := filler.sweep(now); done.Entries == 0 {
		t.Errorf("the sweep has done %+v", done)
	}
	wantStatuses(t, s.runCached("r5", src, cached{}), "a=succeeded b=succeeded")
	wantStatuses(t, s.runCached("r6", src, cached{}), "a=cached b=cached")
}

func (s *shelf) results() *kv.Cache { return must(kv.OpenCache(s.t.Context(), s.conn.Conn)) }

// result stores an entry that refers to an artifact and a log.
func (s *shelf) result(of string, artifact jobs.Tree, log jobs.Blob) {
	s.t.Helper()
	e := &jobs.CacheEntry{Fingerprint: strings.Repeat(of, 64), Run: "r", Module: "m", Log: log}
	if artifact.Manifest != "" {
		e.Artifacts = []jobs.Artifact{{Name: "a", Tree: artifact}}
	}
	if err := s.results().Store(s.t.Context(), "main", e); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shelf) has(of string) bool {
	_, err := s.results().Read(s.t.Context(), "main", strings.Repeat(of, 64))
	return err == nil
}

// TestSweepMakesRoomInTheCache drops the entries that were not used for the longest
// time, from 80 % of the bucket down to 60 %, and no flight.
func TestSweepMakesRoomInTheCache(t *testing.T) {
	s := newShelf(t)
	cache, ctx := s.results(), t.Context()
	flight := jobs.Flight("main", strings.Repeat("f", 64))
	if _, err := cache.Flights().Write(ctx, flight, jobs.LockEntry{Name: flight.Name, Holders: []jobs.Holder{{Run: "r", Module: "m", Attempt: 1}}}, 0); err != nil {
		t.Fatal(err)
	}
	const n = 200
	at := func(i int) string { return fmt.Sprintf("%064x", i) }
	for i := range n {
		if err := cache.Store(ctx, "main", &jobs.CacheEntry{Fingerprint: at(i), Module: "m"}); err != nil {
			t.Fatal(err)
		}
	}
	s.limit("KV_mp-cache", 0.75)
	if done := s.sweep(now); done.Entries != 0 {
		t.Errorf("with room: %+v", done)
	}
	s.limit("KV_mp-cache", 0.85)
	done := s.sweep(now)
	if done.Entries < n/5 || done.Entries > n/2 { // a quarter of them, in steps of 16
		t.Errorf("%+v", done)
	}
	for i := range n {
		if _, err := cache.Read(ctx, "main", at(i)); (err != nil) != (i < done.Entries) {
			t.Errorf("entry %d of which %d went: %v", i, done.Entries, err)
		}
	}
	if e, _, err := cache.Flights().Read(ctx, flight); err != nil || len(e.Holders) != 1 {
		t.Errorf("the flight is %+v, %v", e, err)
	}
}

// TestEntryAndItsContentGoTogether: as long as there is room, an entry keeps its content
// at any age. When space is short, the entry that was used last keeps its own, and an
// entry whose content went goes, too.
func TestEntryAndItsContentGoTogether(t *testing.T) {
	s := newShelf(t)
	log := func(text string) jobs.Blob {
		digest, err := s.trees().PutBytes(t.Context(), []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return jobs.Blob{SHA256: string(digest), Bytes: int64(len(text))}
	}
	old, young := s.push(1, 40), s.push(2, 1)
	s.result("a", young, log("a"))
	s.result("b", old, log("b"))
	aged := now
	aged.Keep = -content.Hold // everything is old
	s.sweep(aged)
	if err := s.whole(old); err != nil || !s.has("a") || !s.has("b") {
		t.Errorf("with room: %v", err)
	}
	for i := range uint64(20) { // stored later than the content of both entries
		s.value(i, 100<<10)
	}
	s.result("a", young, log("a"))
	s.result("b", old, log("b"))
	s.fill(0.9)
	s.sweep(now)
	if err := s.whole(old); err != nil || !s.has("a") || !s.has("b") {
		t.Errorf("content that an entry uses is dropped before what nothing uses: %v", err)
	}
	for range 5 {
		s.fill(0.95)
		s.sweep(now)
		for of, files := range map[string]jobs.Tree{"a": young, "b": old} {
			if err := s.whole(files); s.has(of) != (err == nil) {
				t.Errorf("entry %s is there: %t, and its files: %v", of, s.has(of), err)
			}
		}
	}
	if s.has("a") {
		t.Error("the entry that was used first is still there")
	}
}
