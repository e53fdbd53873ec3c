package schedule_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// pipelines draws a graph of up to ten modules with every policy that the
// core decides about. The words of a condition say how it comes out.
func pipelines() *rapid.Generator[*pipeline.Pipeline] {
	return rapid.Custom(func(t *rapid.T) *pipeline.Pipeline {
		p := &pipeline.Pipeline{
			Name: "p", FailSlow: rapid.Bool().Draw(t, "fail-slow"),
			Limits: map[string]int{"l": rapid.IntRange(1, 2).Draw(t, "limit")},
		}
		if rapid.IntRange(0, 9).Draw(t, "deadline") == 0 {
			p.Deadline = time.Minute
		}
		if rapid.Bool().Draw(t, "cluster limit") {
			p.ClusterLimits = []string{"l"}
		}
		exclusive := rapid.IntRange(0, 4).Draw(t, "exclusive") == 0
		for i := range rapid.IntRange(1, 10).Draw(t, "modules") {
			m := drawModule(t, i, exclusive)
			if i > 0 && rapid.IntRange(0, 2).Draw(t, "needs what the one before needs") == 0 {
				m.Needs = p.Modules[i-1].Needs // one list, as of a layer
			}
			p.Modules = append(p.Modules, m)
		}
		return p
	})
}

// wrong is a condition that cannot be evaluated.
const wrong = "fromJSON('{')"

// quick is a command that reads nothing.
var quick = &pipeline.Command{Args: []pipeline.Text{{{Literal: "true"}}}}

func drawModule(t *rapid.T, i int, exclusive bool) *pipeline.Module {
	m := &pipeline.Module{Name: fmt.Sprintf("m%d", i), Token: fmt.Sprintf("m%d", i), Slots: rapid.IntRange(1, 3).Draw(t, "slots"), Command: quick}
	for k := range i {
		if rapid.IntRange(0, 3).Draw(t, "need") == 0 {
			m.Needs = append(m.Needs, pipeline.Need{Module: fmt.Sprintf("m%d", k), Optional: rapid.IntRange(0, 2).Draw(t, "optional") == 0})
		}
	}
	m.Unselected = rapid.IntRange(0, 12).Draw(t, "unselected") == 0
	m.If = rapid.SampledFrom([]string{"", "", "", "", "true", "false", wrong}).Draw(t, "if")
	p := &m.Policy
	p.AlwaysRun = rapid.IntRange(0, 4).Draw(t, "always-run") == 0
	p.IgnoreFailure = rapid.IntRange(0, 5).Draw(t, "ignore-failure") == 0
	p.Timeout, p.Grace, p.QueueTimeout = time.Hour, 10*time.Second, time.Minute
	p.MaxLosses = rapid.IntRange(1, 3).Draw(t, "max-losses")
	p.Retry = pipeline.Retry{Attempts: rapid.IntRange(1, 3).Draw(t, "attempts"), Delay: time.Second, MaxDelay: time.Minute}
	p.Priority = rapid.SampledFrom([]pipeline.Priority{pipeline.Low, pipeline.Normal, pipeline.High}).Draw(t, "priority")
	if rapid.IntRange(0, 3).Draw(t, "keyed") == 0 {
		p.Keys = rapid.SampledFrom([][]string{{"a"}, {"b"}, {"a", "b"}}).Draw(t, "keys")
	}
	if len(p.Keys) > 0 && rapid.Bool().Draw(t, "cluster keys") {
		p.ClusterKeys = p.Keys
	}
	if rapid.IntRange(0, 5).Draw(t, "limited") == 0 {
		p.Limits = []string{"l"}
	}
	p.Exclusive = exclusive && rapid.IntRange(0, 3).Draw(t, "alone") == 0
	if rapid.IntRange(0, 2).Draw(t, "cached") == 0 {
		m.Cache = &pipeline.Cache{Portable: true}
	}
	if rapid.IntRange(0, 2).Draw(t, "with cache directories") == 0 {
		m.CacheDirs = []pipeline.CacheDir{{Name: "d", Env: "D", Key: "k", FailOnMiss: rapid.IntRange(0, 3).Draw(t, "fail on miss") == 0}}
	}
	return m
}

// step does one thing that may happen next.
func (w *world) step() {
	switch rapid.IntRange(0, 15).Draw(w.t, "step") {
	case 0, 1, 2:
		w.fold(rapid.IntRange(1, 3).Draw(w.t, "entries"))
		w.decide()
	case 3, 4, 5:
		if n := len(w.pending); n > 0 {
			w.perform(rapid.IntRange(0, n-1).Draw(w.t, "action"))
		}
	case 6, 7:
		w.startOne()
	case 8:
		if x := w.someWork(); x != nil && x.claimed == 0 && !w.claim(x) {
			delete(w.working, x.id) // refused: it ends what it runs
		}
	case 9, 10, 11:
		if x := w.someWork(); x != nil {
			w.commit(x, drawOutcome(w.t))
		}
	case 12:
		w.now = w.now.Add(time.Duration(rapid.IntRange(1, 5000).Draw(w.t, "ms")) * time.Millisecond)
	case 13:
		w.trouble()
	default:
		w.decide()
	}
}

// trouble is what happens rarely.
func (w *world) trouble() {
	switch rapid.IntRange(0, 7).Draw(w.t, "trouble") {
	case 0:
		w.takeOver()
	case 1:
		if names := slices.Sorted(maps.Keys(w.workers)); len(names) > 0 {
			w.kill(rapid.SampledFrom(names).Draw(w.t, "worker"))
		}
	case 2:
		w.cancels++
		w.write("cancel", "", w.last["cancel"], jobs.Record{Cancel: &jobs.Cancel{ID: fmt.Sprint(w.cancels), By: "me", Reason: "enough"}})
	case 3, 4:
		w.addWorker()
		for name := range w.workers {
			w.fleet.Heartbeat(w.registered(name), w.now)
		}
	case 7:
		w.flights.theirs = !w.flights.theirs
		if !w.flights.theirs && rapid.Bool().Draw(w.t, "announced") {
			w.dispatcher.FlightFree("f")
		}
	case 5, 6:
		w.cluster.interfere(w.t, w.pipe.Limits["l"])
		if rapid.Bool().Draw(w.t, "bell") {
			w.dispatcher.LocksChanged()
		}
	}
}

func drawOutcome(t *rapid.T) jobs.Outcome {
	o := jobs.Outcome{Status: rapid.SampledFrom([]report.AttemptStatus{
		report.AttemptSucceeded, report.AttemptSucceeded, report.AttemptSucceeded, report.AttemptFailed, report.AttemptTimedOut, report.AttemptHandedBack,
	}).Draw(t, "outcome")}
	if o.Status == report.AttemptSucceeded && rapid.IntRange(0, 3).Draw(t, "stores a directory") == 0 {
		o.CacheDirs = []jobs.StoredDir{{Name: "d", Key: "k"}}
	}
	return o
}

func (w *world) startOne() bool {
	if len(w.queue) == 0 || len(w.workers) == 0 {
		return false
	}
	ids := slices.SortedFunc(maps.Keys(w.queue), func(a, b jobs.AttemptID) int { return strings.Compare(string(a.Module), string(b.Module)) })
	names := slices.Sorted(maps.Keys(w.workers))
	w.start(rapid.SampledFrom(ids).Draw(w.t, "job"), rapid.SampledFrom(names).Draw(w.t, "by"))
	return true
}

func (w *world) someWork() *execution {
	var live []*execution
	for _, id := range slices.SortedFunc(maps.Keys(w.working), func(a, b jobs.AttemptID) int { return strings.Compare(string(a.Module), string(b.Module)) }) {
		if x := w.working[id]; !x.dead {
			live = append(live, x)
		}
	}
	if len(live) == 0 {
		return nil
	}
	return rapid.SampledFrom(live).Draw(w.t, "work")
}

// settle has everything that is due happen, without further trouble, until
// the run has ended.
func (w *world) settle() {
	if len(w.workers) == 0 {
		w.addWorker()
	}
	for name := range w.workers {
		w.fleet.Heartbeat(w.registered(name), w.now)
	}
	clear(w.cluster.others)
	w.flights.theirs = false
	for range 3000 {
		w.fold(len(w.log))
		if w.truth.Ended() != nil {
			return
		}
		wake := w.decide()
		busy := len(w.pending) > 0
		for len(w.pending) > 0 {
			w.perform(0)
		}
		for len(w.queue) > 0 {
			busy = w.startOne() || busy
		}
		if x := w.someWork(); x != nil {
			w.commit(x, drawOutcome(w.t))
			busy = true
		}
		if !busy {
			if wake.IsZero() {
				w.t.Fatalf("nothing is left to happen, and the run has not ended: %s", w.describe())
			}
			w.now = w.now.Add(max(time.Millisecond, wake.Sub(w.now)))
		}
	}
	w.t.Fatalf("the run does not end: %s", w.describe())
}

func (w *world) describe() string {
	var b strings.Builder
	for _, m := range w.pipe.Modules {
		fmt.Fprintf(&b, "%s=%s ", m.Name, w.status(m.Name))
	}
	return b.String()
}

// TestEveryRunEndsAsTheTableSays: in any order of events, and whichever
// process dies, a run ends; every module of it ends once, in the status that the
// table of fates gives for how its needs ended; nothing starts before its
// needs ended; keys and limits are never exceeded (the world checks these);
// and the verdict is what the modules say.
func TestEveryRunEndsAsTheTableSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, pipelines().Draw(t, "pipeline"), rapid.IntRange(1, 3).Draw(t, "workers"))
		for range rapid.IntRange(0, 150).Draw(t, "steps") {
			if w.truth.Ended() != nil {
				break
			}
			w.step()
		}
		w.settle()
		w.checkEnd()
		w.checkReplay()
	})
}

func (w *world) checkEnd() {
	ends := map[string]int{}
	for _, e := range w.events {
		if e.Event == report.EventModuleEnded {
			ends[e.Module]++
		}
	}
	if len(w.flights.held) > 0 {
		w.t.Fatalf("the run has ended, and holds the flights of %v", w.flights.held)
	}
	failures := 0
	for _, m := range w.pipe.Modules {
		s := w.status(m.Name)
		if ends[m.Name] != 1 {
			w.t.Fatalf("%s ended %d times", m.Name, ends[m.Name])
		}
		if !slices.Contains(w.allowed(m), s) {
			w.t.Fatalf("%s ended %s; the table says one of %v (%s)", m.Name, s, w.allowed(m), w.describe())
		}
		if s == report.Failed || s == report.TimedOut {
			failures++
		}
	}
	cancelled := w.cancelled()
	want := report.RunSucceeded
	switch {
	case cancelled:
		want = report.RunCancelled
	case failures > 0:
		want = report.RunFailed
	}
	if got := w.truth.Ended().Status; got != want {
		w.t.Fatalf("the run ended %s, want %s (%s)", got, want, w.describe())
	}
}

// cancelled reports whether a cancellation was in time.
func (w *world) cancelled() bool {
	for _, e := range w.log {
		if c := e.Record.Cancel; c != nil && !w.truth.TooLate(c.ID) {
			return true
		}
	}
	return false
}

// allowed is the table of fates, written a second time: the statuses in which
// m may have ended, given how what it needs has.
func (w *world) allowed(m *pipeline.Module) []report.Status {
	if m.Unselected {
		return []report.Status{report.Skipped}
	}
	bad, cancelled, skipped, allSkipped, required := false, false, false, true, false
	for _, n := range m.Needs {
		s := w.status(n.Module)
		bad = bad || s == report.Failed || s == report.TimedOut || s == report.DependencyFailed
		cancelled = cancelled || s == report.Cancelled
		skipped = skipped || (s == report.Skipped && !n.Optional)
		allSkipped = allSkipped && s == report.Skipped
		required = required || !n.Optional
	}
	stopped := w.cancelled()
	if m.Policy.AlwaysRun {
		if len(m.Needs) > 0 && allSkipped && required {
			return []report.Status{report.Skipped}
		}
		stopped = stopped && w.cancels > 1
	} else {
		switch {
		case bad:
			return []report.Status{report.DependencyFailed}
		case cancelled:
			return []report.Status{report.Cancelled}
		case skipped:
			return []report.Status{report.Skipped}
		}
		stopped = stopped || !w.pipe.FailSlow
	}
	own := []report.Status{report.Succeeded, report.Failed, report.TimedOut}
	if m.Cache != nil {
		own = append(own, report.Cached)
	}
	switch m.If {
	case "false":
		own = []report.Status{report.Skipped}
	case wrong:
		own = []report.Status{report.Failed}
	}
	own = append(own, report.Failed) // for want of a worker
	if m.Policy.IgnoreFailure {
		own = slices.DeleteFunc(own, func(s report.Status) bool { return s == report.Failed || s == report.TimedOut })
		own = append(own, report.IgnoredFailure)
	}
	if stopped {
		own = append(own, report.Cancelled)
	}
	return own
}

// checkReplay: the same entries give the same run, and any prefix of them
// folds.
func (w *world) checkReplay() {
	again, err := schedule.Load(w.log, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	a, _ := w.truth.Report(nil)
	b, _ := again.Report(nil)
	if diff := cmp.Diff(a, b); diff != "" {
		w.t.Fatalf("a second fold differs:\n%s", diff)
	}
}
