package orchestrator_test

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/orchestrator"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// cached is how a run uses the cache.
type cached struct {
	policy jobs.CachePolicy
	place  string // directory in which attempts run; "" = that of the site
}

// runCached runs a pipeline whose attempts leave results for this site.
func (s *site) runCached(id jobs.RunID, src string, how cached) *report.Report {
	s.t.Helper()
	s.submitCached(id, src, how.policy)
	if _, err := orchestrator.Run(s.ctx, s.conn, id, s.caching(how)); err != nil {
		s.t.Fatal(err)
	}
	rep, err := client.New(s.conn).Show(s.ctx, id)
	if err != nil {
		s.t.Fatal(err)
	}
	return rep
}

func (s *site) caching(how cached) orchestrator.Config {
	return orchestrator.Config{InPlace: cmp.Or(how.place, s.dir)}
}

func (s *site) submitCached(id jobs.RunID, src string, policy jobs.CachePolicy) {
	s.t.Helper()
	file, err := pipeline.Parse("test.yaml", []byte(src))
	if err != nil {
		s.t.Fatal(err)
	}
	p, err := file.Bind(nil, os.LookupEnv)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := client.New(s.conn).Submit(s.ctx, &jobs.Spec{Run: id, Pipeline: p, Cache: policy, StartedBy: "me@here"}); err != nil {
		s.t.Fatal(err)
	}
}

// input writes the file that modules declare as their input.
func (s *site) input(text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, "in"), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// times is how often a line was appended to a file of the workspace.
func (s *site) times(name string) int {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Fatal(err)
	}
	return strings.Count(string(data), "\n")
}

func wantStatuses(t *testing.T, r *report.Report, want string) {
	t.Helper()
	if got := statuses(r); got != want {
		t.Errorf("run %s: %s, want %s (warnings: %v)", r.Run, got, want, r.Warnings)
	}
}

const building = `
name: p
modules:
  build:
    run: 'echo x >>built; echo "version=$(cat in)" >>"$MODPIPE_OUTPUT"'
    outputs: [version]
    cache: {inputs: [in], portable: true}
  use: {needs: build, env: {V: "${{ needs.build.outputs.version }}"}, run: 'test "$V" = "$(cat in)"'}
`

func TestCachedResultEndsAModule(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1)
	s.input("1")
	wantStatuses(t, s.runCached("r1", building, cached{}), "build=succeeded use=succeeded")
	second := s.runCached("r2", building, cached{})
	wantStatuses(t, second, "build=cached use=succeeded")
	build := second.Modules[0]
	if build.Outputs["version"] != "1" || build.Cached == nil || build.Cached.Run != "r1" || build.Cached.By != "me@here" || len(build.Attempts) > 0 {
		t.Errorf("the cached module is %+v", build)
	}
	s.input("2")
	wantStatuses(t, s.runCached("r3", building, cached{}), "build=succeeded use=succeeded")
	s.input("1")
	if third := s.runCached("r4", building, cached{}); third.Modules[0].Cached == nil || third.Modules[0].Cached.Run != "r1" {
		t.Errorf("a result that an older entry has: %+v", third.Modules[0])
	}
	if n := s.times("built"); n != 2 {
		t.Errorf("it was executed %d times, want 2", n)
	}
}

func TestPolicyDecidesWhatIsReadAndWritten(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1)
	s.input("1")
	for _, c := range []struct {
		run    jobs.RunID
		how    cached
		status string
	}{
		{"read-1", cached{policy: jobs.CachePolicy{NoWrite: true}}, "succeeded"},
		{"off-1", cached{policy: jobs.CachePolicy{Off: true}}, "succeeded"},
		{"elsewhere", cached{policy: jobs.CachePolicy{Namespace: "other"}}, "succeeded"},
		{"write-1", cached{}, "succeeded"}, // nothing before has written here
		{"write-2", cached{policy: jobs.CachePolicy{NoRead: true}}, "succeeded"},
		{"read-2", cached{policy: jobs.CachePolicy{NoWrite: true}}, "cached"},
		{"off-2", cached{policy: jobs.CachePolicy{Off: true}}, "succeeded"},
		{"refresh", cached{policy: jobs.CachePolicy{Refresh: true}}, "succeeded"},
		{"another-place", cached{place: t.TempDir()}, "succeeded"},
		{"from", cached{policy: jobs.CachePolicy{Namespace: "third", From: []string{"other"}}}, "cached"},
	} {
		wantStatuses(t, s.runCached(c.run, building, c.how), "build="+c.status+" use=succeeded")
	}
}

func TestFalseConditionPrecedesAHit(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1)
	src := func(condition string) string {
		return `
name: p
modules:
  first: {run: 'echo "go=yes" >>"$MODPIPE_OUTPUT"', outputs: [go]}
  build: {needs: first, if: "` + condition + `", run: "true", cache: {inputs: [], portable: true}}
`
	}
	wantStatuses(t, s.runCached("r1", src("needs.first.outputs.go == 'yes'"), cached{}), "first=succeeded build=succeeded")
	wantStatuses(t, s.runCached("r2", src("needs.first.outputs.go == 'no'"), cached{}), "first=succeeded build=skipped")
	wantStatuses(t, s.runCached("r3", src("needs.first.outputs.go == 'yes'"), cached{}), "first=succeeded build=cached")
}

func TestResultThatIsNotReproducibleIsReported(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1)
	const src = `
name: p
modules:
  build: {run: 'echo x >>built; echo "n=$(wc -l <built)" >>"$MODPIPE_OUTPUT"', outputs: [n], cache: {inputs: [], portable: true}}
`
	s.runCached("r1", src, cached{})
	rep := s.runCached("r2", src, cached{policy: jobs.CachePolicy{Refresh: true}})
	if len(rep.Warnings) != 1 || !strings.Contains(rep.Warnings[0], "not reproducible") || !strings.Contains(rep.Warnings[0], "outputs (n)") {
		t.Errorf("warnings: %q", rep.Warnings)
	}
}

func TestFailureBeforeASuccessMarksTheModuleAsFlaky(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1)
	src := func(retry string) string {
		return `
name: p
modules:
  test: {run: 'echo x >>ran; test $(wc -l <ran) -gt 1', cache: {inputs: [], portable: true}, retry: {` + retry + `}}
`
	}
	if rep := s.runCached("r1", src("attempts: 1"), cached{}); statuses(rep) != "test=failed" || rep.Modules[0].Flaky {
		t.Errorf("after a failure: %+v", rep.Modules[0])
	}
	if rep := s.runCached("r2", src("attempts: 1"), cached{}); statuses(rep) != "test=succeeded" || !rep.Modules[0].Flaky {
		t.Errorf("after a success: %+v", rep.Modules[0])
	}
}

// slow appends a line to the file built, and ends when the test creates the file
// go.
const slow = `
name: p
modules:
  build:
    run: |
      echo x >>built; touch started
      i=0; until [ -e go ]; do i=$((i+1)); [ $i -lt 10000 ]; sleep 0.02; done
    cache: {inputs: [], portable: true}
`

// producing begins a run of slow, and another one that waits for its result.
func (s *site) producing() (first, second *led) {
	s.t.Helper()
	s.submitCached("r1", slow, jobs.CachePolicy{})
	first = s.leadAs("r1", s.caching(cached{}))
	s.appears("started")
	s.submitCached("r2", slow, jobs.CachePolicy{})
	second = s.leadAs("r2", s.caching(cached{}))
	if text := second.waiting(); !strings.Contains(text, "build of run r1 is producing") {
		s.t.Errorf("it waits for %q", text)
	}
	return first, second
}

func TestRunsProduceAResultOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, 2)
	first, second := s.producing()
	s.touch("go")
	first.succeeds()
	second.succeeds()
	if n := s.times("built"); n != 1 {
		t.Errorf("it was executed %d times", n)
	}
}

// TestCancelledProducerGivesItsFlightBack has the waiting run produce the result
// itself.
func TestCancelledProducerGivesItsFlightBack(t *testing.T) {
	t.Parallel()
	s := newSite(t, 2)
	first, second := s.producing()
	if err := client.New(s.conn).Cancel(s.ctx, "r1", jobs.Cancel{ID: "c", By: "me", Reason: "a test"}); err != nil {
		t.Fatal(err)
	}
	if err := first.finish(); err != nil {
		t.Fatal(err)
	}
	s.touch("go")
	second.succeeds()
	if n := s.times("built"); n != 2 {
		t.Errorf("it was executed %d times, want 2", n)
	}
}

func TestWaitingModuleCanBeCancelled(t *testing.T) {
	t.Parallel()
	s := newSite(t, 2)
	first, second := s.producing()
	if err := client.New(s.conn).Cancel(s.ctx, "r2", jobs.Cancel{ID: "c", By: "me", Reason: "a test"}); err != nil {
		t.Fatal(err)
	}
	if err := second.finish(); err != nil {
		t.Fatal(err)
	}
	s.touch("go")
	first.succeeds()
}
