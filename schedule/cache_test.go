package schedule_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// flights are the flights of the fingerprints of a world's run.
type flights struct {
	held   map[jobs.AttemptID]bool // by attempts of the run
	theirs bool                    // another run has all others
}

// lookUp answers a lookup as a cache may. A module whose condition does not hold is
// never looked up, and neither is one that waits for keys.
func (w *world) lookUp(a schedule.Lookup) schedule.Found {
	m := w.pipe.Modules[a.Node]
	if m.Cache == nil || m.If == "false" || m.If == wrong {
		w.t.Fatalf("%s is looked up", m.Name)
	}
	f := schedule.Found{Fingerprint: "print"}
	switch {
	case !a.Adopt && rapid.IntRange(0, 3).Draw(w.t, "hit") == 0:
		f.Hit = &jobs.Outcome{Status: report.AttemptSucceeded, Cached: &jobs.Cached{Run: "earlier", Module: m.Name, Fingerprint: "print"}}
	case !a.Adopt && w.flights.theirs:
		f.Busy = "f"
	default:
		w.flights.held[a.ID] = true
	}
	return f
}

// conclude gives a flight back: of an attempt that is closed.
func (w *world) conclude(a schedule.Conclude) {
	if !w.truth.Closed(a.ID) {
		w.t.Fatalf("the flight of %v is given back, and the attempt is open", a.ID)
	}
	if a.Outcome != nil && a.Outcome.Attempt != a.ID.Attempt {
		w.t.Fatalf("%v has the outcome of attempt %d", a.ID, a.Outcome.Attempt)
	}
	delete(w.flights.held, a.ID)
	var note *jobs.Note
	if a.Outcome != nil && rapid.IntRange(0, 4).Draw(w.t, "note") == 0 {
		note = &jobs.Note{Module: a.ID.Module, Warning: "it differs"}
	}
	w.dispatcher.Concluded(note)
}

// TestHitEndsAModuleWithoutAnAttempt folds the record of a hit.
func TestHitEndsAModuleWithoutAnAttempt(t *testing.T) {
	m := &pipeline.Module{Name: "build", Token: "build", Slots: 1, Command: quick, Cache: &pipeline.Cache{Portable: true}}
	plain := &pipeline.Module{Name: "plain", Token: "plain", Slots: 1, Command: quick}
	outcome := func() *jobs.Outcome {
		return &jobs.Outcome{
			Status: report.AttemptSucceeded, Outputs: jobs.OutputsOf(map[string]string{"v": "1"}),
			Cached: &jobs.Cached{Run: "r0", Module: "make", When: time.Unix(0, 0)},
		}
	}
	run, err := schedule.Load([]jobs.Entry{
		{Sequence: 1, Record: jobs.Record{Spec: &jobs.Spec{Run: "r", Pipeline: &pipeline.Pipeline{Name: "p", Modules: []*pipeline.Module{m, plain}}}}},
		{Sequence: 2, Record: jobs.Record{Takeover: &jobs.Takeover{Epoch: 1}}},
		{Sequence: 3, Cell: "build", Record: jobs.Record{Outcome: outcome()}},
		{Sequence: 4, Cell: "plain", Record: jobs.Record{Outcome: outcome()}}, // it has no cache: noise
		{Sequence: 5, Record: jobs.Record{Note: &jobs.Note{Module: "build", Flaky: true, Warning: "careful"}}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	rep, err := run.Report(nil)
	if err != nil {
		t.Fatal(err)
	}
	build := rep.Modules[0]
	if build.Status != report.Cached || build.Outputs["v"] != "1" || build.Cached.Run != "r0" || build.Reason != "from make of run r0" || !build.Flaky {
		t.Errorf("the module with a hit is %+v", build)
	}
	if s := rep.Modules[1].Status; s != report.Ready {
		t.Errorf("a module without a cache is %s", s)
	}
}
