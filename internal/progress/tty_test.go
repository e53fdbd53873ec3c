package progress

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"pgregory.net/rapid"

	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/golden"
)

// liveRun is a run of n modules, about a third of which have ended. It has everything
// that a view shows.
func liveRun(n int) (s *liveState, now time.Time) {
	p := &pipeline.Pipeline{Name: "release", Limits: map[string]int{"net": 1}}
	for i := range n {
		m := &pipeline.Module{Name: fmt.Sprintf("module-%04d", i), Slots: 1}
		switch i {
		case n - 1:
			m.Name, m.Requires.Tags = "train", []string{"gpu"}
		case n - 2:
			m.Policy.Keys = []string{"database"}
		case n - 3:
			m.Policy.Limits = []string{"net"}
		case n - 4:
			m.Name = "übersetze alle Handbücher (sprache=日本語, ausgabe=vollständig)"
			m.Policy.Keys, m.Policy.Limits = []string{"database"}, []string{"net"}
		}
		p.Modules = append(p.Modules, m)
	}
	s = newLiveState(p)
	s.eta.took = map[string]time.Duration{"module-0002": 20 * time.Second}
	now = start.Add(65 * time.Second)
	say := func(second float64, kind report.EventKind, e report.Event) {
		e.Event, e.Time, e.Run = kind, start.Add(time.Duration(second*float64(time.Second))), "20260102-030405-abcde"
		s.event(e, e.Time)
	}
	name := func(i int) string { return p.Modules[i].Name }
	begin := func(i int, at float64, worker string) {
		say(at, report.EventModuleReady, report.Event{Module: name(i)})
		say(at, report.EventModuleStarted, report.Event{Module: name(i), Attempt: 1, Worker: worker})
	}
	say(0, report.EventRunStarted, report.Event{Pipeline: "release", Modules: n})
	for w := range 3 {
		say(0, report.EventWorkerJoined, report.Event{Worker: fmt.Sprintf("worker-%d", w), Slots: max(8, n/25)})
	}
	third := n / 3
	for i := range third {
		begin(i, float64(i)/float64(n), "worker-0")
		status, why := "succeeded", ""
		if i%10 == 1 {
			status, why = "failed", "exit code 1"
		}
		took := 1 + float64(i%7)*3.5
		say(30+took, report.EventModuleEnded, report.Event{Module: name(i), Status: status, Error: why, Worker: "worker-0", Duration: &took})
	}
	for i := third; i < n-4 && i < third+max(1, n/20); i++ {
		begin(i, 40+float64(i)/float64(n), fmt.Sprintf("worker-%d", i%2))
		say(60, report.EventModuleOutput, report.Event{Module: name(i), Text: fmt.Sprintf("\x1b[32mok\x1b[0m\tpackage %d\r 10%%\r 20%%", i)})
	}
	say(60, report.EventModuleRetrying, report.Event{Module: name(third), Attempt: 1, In: new(12.5), Error: "exit code 75"})
	begin(n-4, 50, "worker-1")
	for _, i := range []int{n - 1, n - 2, n - 3} {
		say(60, report.EventModuleReady, report.Event{Module: name(i)})
	}
	say(61, report.EventWaiting, report.Event{Module: "train", Missing: "no worker has the tag gpu", Closest: "worker-1, which lacks the tag gpu"})
	say(62, report.EventWorkerLost, report.Event{Worker: "worker-2", Reason: "silent for 3s"})
	s.note("SIGINT: cancelling the run; always-run modules still run. Once more ends those too")
	return s, now
}

func draw(s *liveState, now time.Time, width, height int, paint console.Painter) string {
	lines := liveView{paint: paint, width: width, height: height}.lines(s.shot(now, height))
	return strings.Join(lines, "\n") + "\n"
}

// TestLiveViewDrawsRuns draws small and large runs in small and large windows.
func TestLiveViewDrawsRuns(t *testing.T) {
	for _, modules := range []int{10, 10_000} {
		s, now := liveRun(modules)
		for _, size := range []struct{ width, height int }{{80, 24}, {200, 50}} {
			for _, paint := range []console.Painter{false, true} {
				name := fmt.Sprintf("live_%d_%dx%d", modules, size.width, size.height)
				if paint {
					name += "_colour"
				}
				t.Run(name, func(t *testing.T) {
					golden.Compare(t, name+".txt", draw(s, now, size.width, size.height, paint))
				})
			}
		}
	}
}

// TestLiveViewFitsEveryWindow also checks that colours change no letters.
func TestLiveViewFitsEveryWindow(t *testing.T) {
	for _, modules := range []int{10, 300} {
		s, now := liveRun(modules)
		for width := 1; width < 130; width += 3 {
			for height := 1; height < 60; height++ {
				plain, painted := draw(s, now, width, height, false), draw(s, now, width, height, true)
				if ansi.Strip(painted) != plain {
					t.Fatalf("%dx%d: colours change the text:\n%s\n%s", width, height, plain, painted)
				}
				lines := strings.Split(strings.TrimSuffix(plain, "\n"), "\n")
				if len(lines) > height {
					t.Fatalf("%d lines in %dx%d:\n%s", len(lines), width, height, plain)
				}
				for _, l := range lines {
					if w := ansi.StringWidth(l); w > width {
						t.Fatalf("%d columns in %dx%d: %q", w, width, height, l)
					}
				}
			}
		}
	}
}

// TestLiveViewCountsEachModuleOnce also checks the lists of modules after any events.
func TestLiveViewCountsEachModuleOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newLiveState(nil)
		n := rapid.IntRange(1, 6).Draw(t, "modules")
		s.event(report.Event{Event: report.EventRunStarted, Modules: n, Time: start}, start)
		kinds := []report.EventKind{
			report.EventModuleReady, report.EventModuleStarted, report.EventModuleRetrying, report.EventModuleEnded, report.EventWaiting, report.EventModuleOutput,
		}
		for range rapid.IntRange(0, 40).Draw(t, "events") {
			name := fmt.Sprint(rapid.IntRange(1, n).Draw(t, "module"))
			if m, ok := s.modules[name]; ok && m.status.Terminal() {
				continue
			}
			s.event(report.Event{
				Event: rapid.SampledFrom(kinds).Draw(t, "event"), Module: name, Worker: "w", Time: start,
				Status: string(rapid.SampledFrom(summaryOrder()[:8]).Draw(t, "status")), In: new(1.0),
			}, start)
			sum := s.unheard
			for _, c := range s.counts {
				sum += c
			}
			if sum != n || s.running.size != s.counts[report.Running] || s.retrying.size != s.counts[report.Retrying] ||
				len(s.running.copy(100)) != s.running.size || s.workers["w"] != nil && s.workers["w"].used != s.running.size {
				t.Fatalf("%d of %d: %v, running %d, retrying %d", sum, n, s.counts, s.running.size, s.retrying.size)
			}
			s.shot(start, 10)
		}
	})
}

// TestEstimateCoversPathAndWork checks that a run does not end before its longest path,
// nor before its work divided by its slots.
func TestEstimateCoversPathAndWork(t *testing.T) {
	p := &pipeline.Pipeline{Name: "p"}
	took := map[string]time.Duration{}
	for i := range 6 {
		m := &pipeline.Module{Name: fmt.Sprint(i), Slots: 1}
		if i == 1 || i == 2 {
			m.Needs = []pipeline.Need{{Module: fmt.Sprint(i - 1)}}
		}
		p.Modules, took[m.Name] = append(p.Modules, m), 10*time.Second
	}
	for slots, want := range map[int]time.Duration{1: time.Minute, 2: 30 * time.Second, 100: 30 * time.Second} {
		s := newLiveState(p)
		s.eta.took = took
		s.event(report.Event{Event: report.EventWorkerJoined, Worker: "w", Slots: slots}, start)
		if got, known := s.eta.left(s, start); got != want || !known {
			t.Errorf("%d slots: %v, %v; want %v", slots, got, known, want)
		}
	}
}

// BenchmarkLiveEvents measures the cost of an event, with 10,000 modules. Most events are
// lines of output.
func BenchmarkLiveEvents(b *testing.B) {
	s, now := liveRun(10_000)
	t := newTails()
	e := make([]report.Event, 0, 512)
	for m := s.running.first; m != nil && len(e) < cap(e); m = m.next {
		e = append(e, report.Event{Event: report.EventModuleOutput, Module: m.name, Attempt: 1, Time: now, Text: "compiling package number 17 of 200, with some flags"})
	}
	b.ReportAllocs()
	for i := range b.N {
		t.event(e[i%len(e)])
		s.event(e[i%len(e)], now)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkLiveLives measures the same for the start and end of modules.
func BenchmarkLiveLives(b *testing.B) {
	p := &pipeline.Pipeline{Name: "p"}
	for i := range 10_000 {
		p.Modules = append(p.Modules, &pipeline.Module{Name: fmt.Sprint("module-", i), Slots: 1})
	}
	took := 1.0
	var s *liveState
	b.ReportAllocs()
	for i := range b.N {
		k := i % len(p.Modules)
		if k == 0 {
			b.StopTimer()
			s = newLiveState(p)
			s.event(report.Event{Event: report.EventRunStarted, Modules: len(p.Modules), Time: start}, start)
			b.StartTimer()
		}
		name := p.Modules[k].Name
		s.event(report.Event{Event: report.EventModuleReady, Module: name, Time: start}, start)
		s.event(report.Event{Event: report.EventModuleStarted, Module: name, Worker: "w", Attempt: 1, Time: start}, start)
		s.event(report.Event{Event: report.EventModuleEnded, Module: name, Worker: "w", Status: "succeeded", Duration: &took, Time: start}, start)
	}
	b.ReportMetric(3*float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkLivePicture measures the cost of one picture. There are at most seven in a
// second.
func BenchmarkLivePicture(b *testing.B) {
	s, now := liveRun(10_000)
	for i := range b.N {
		draw(s, now.Add(time.Duration(i)*liveTick), 200, 50, true)
	}
}
