package orchestrator_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// cachedOutput is the output of the only module of run r2, which took its result from
// the cache.
func (s *site) cachedOutput() (*jobs.Cached, string) {
	s.t.Helper()
	list, err := client.New(s.conn).Modules(s.ctx, "r2")
	if err != nil || len(list) != 1 || list[0].Cached == nil {
		s.t.Fatalf("%v, %+v", err, list)
	}
	var text strings.Builder
	if err := client.New(s.conn).CachedOutput(s.ctx, list[0].Cached, func(data []byte) error {
		text.Write(data)
		return nil
	}); err != nil {
		s.t.Fatal(err)
	}
	return list[0].Cached, text.String()
}

const talking = `
name: p
modules:
  build: {run: 'echo one; echo two >&2; printf three', cache: {inputs: [], portable: true}}
`

func TestLogOfACachedResultOutlivesItsRun(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1)
	s.runCached("r1", talking, cached{})
	wantStatuses(t, s.runCached("r2", talking, cached{}), "build=cached")
	if err := s.conn.Runs.Drop(s.ctx, "r1"); err != nil {
		t.Fatal(err)
	}
	from, text := s.cachedOutput()
	for _, want := range []string{"one\n", "two\n", "three"} {
		if !strings.Contains(text, want) {
			t.Errorf("the output %q lacks %q", text, want)
		}
	}
	if from.Log.Bytes != int64(len(text)) {
		t.Errorf("the log is %+v, and its output is %d bytes", from.Log, len(text))
	}
}

func TestFollowerReceivesTheLogOfACachedResult(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1)
	s.runCached("r1", talking, cached{})
	s.runCached("r2", talking, cached{})
	var lines []string
	if _, err := client.New(s.conn).Follow(s.ctx, "r2", client.FollowOptions{Output: true, Sink: func(e report.Event) {
		switch e.Event {
		case report.EventModuleOutput:
			lines = append(lines, e.Module+": "+e.Text)
		case report.EventModuleEnded:
			lines = append(lines, e.Module+" "+e.Status)
		default:
		}
	}}); err != nil {
		t.Fatal(err)
	}
	if len(lines) < 4 || !strings.HasPrefix(lines[0], "build: the result of build of run r1") || lines[len(lines)-1] != "build cached" {
		t.Errorf("%q", lines)
	}
	if all := strings.Join(lines, "\n"); !strings.Contains(all, "build: one\n") || !strings.Contains(all, "two") {
		t.Errorf("%q", lines)
	}
}

func TestLongLogOfACachedResultIsCut(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1)
	const src = `
name: p
modules:
  build: {run: 'head -c 17000000 /dev/zero | tr "\0" x', cache: {inputs: [], portable: true}}
`
	s.runCached("r1", src, cached{})
	s.runCached("r2", src, cached{})
	from, text := s.cachedOutput()
	if int64(len(text)) != from.Log.Bytes || len(text) < jobs.MaxCachedLog || len(text) > jobs.MaxCachedLog+200 {
		t.Errorf("%d bytes of output, log %+v", len(text), from.Log)
	}
	if end := text[jobs.MaxCachedLog:]; !strings.Contains(end, "longer than 16 MiB") {
		t.Errorf("it ends with %q", end)
	}
}

func TestSilentAttemptHasAnEmptyLog(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1)
	const src = "name: p\nmodules: {build: {run: 'true', cache: {inputs: [], portable: true}}}\n"
	s.runCached("r1", src, cached{})
	s.runCached("r2", src, cached{})
	if from, text := s.cachedOutput(); from.Log != jobs.EmptyBlob || text != "" {
		t.Errorf("%+v, %q", from.Log, text)
	}
}

// TestDamagedLogOfACachedResult has a log whose stored copy is gone: the log of the
// run serves, and when that is gone, too, the caller is told.
func TestDamagedLogOfACachedResult(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1)
	s.runCached("r1", talking, cached{})
	s.runCached("r2", talking, cached{})
	from, _ := s.cachedOutput()
	store, err := s.conn.Files.In(from.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	store.Condemn(s.ctx, content.Digest(from.Log.SHA256))
	if _, text := s.cachedOutput(); !strings.Contains(text, "one\n") {
		t.Errorf("output %q", text)
	}
	if err := s.conn.Runs.Drop(s.ctx, "r1"); err != nil {
		t.Fatal(err)
	}
	err = client.New(s.conn).CachedOutput(s.ctx, from, func([]byte) error { return nil })
	if !errors.Is(err, broker.ErrNotFound) {
		t.Errorf("error %v, want one that it is not kept", err)
	}
}
