package forecast_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/modpipe/modpipe/internal/forecast"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

func module(name string, needs ...string) *pipeline.Module {
	m := &pipeline.Module{Name: name, Token: name, Slots: 1, Policy: pipeline.Policy{
		MaxLosses: 3, QueueTimeout: time.Hour, Retry: pipeline.Retry{Attempts: 1},
	}}
	for _, n := range needs {
		m.Needs = append(m.Needs, pipeline.Need{Module: n})
	}
	return m
}

func pipe(modules ...*pipeline.Module) *pipeline.Pipeline {
	return &pipeline.Pipeline{Name: "p", Families: map[string][]int{}, Modules: modules}
}

func second(*pipeline.Module) time.Duration { return time.Second }

// draw is a random graph, in which some modules have a priority or a tag.
func draw(t *rapid.T) (*pipeline.Pipeline, map[string]time.Duration) {
	took := map[string]time.Duration{}
	p := pipe()
	for i := range rapid.IntRange(1, 40).Draw(t, "modules") {
		m := module(fmt.Sprint("m", i))
		for k := range i {
			if rapid.IntRange(0, 9).Draw(t, "need") == 0 {
				m.Needs = append(m.Needs, pipeline.Need{Module: fmt.Sprint("m", k)})
			}
		}
		m.Policy.Priority = pipeline.Priority(rapid.IntRange(int(pipeline.Low), int(pipeline.Critical)).Draw(t, "priority"))
		if rapid.Bool().Draw(t, "tagged") {
			m.Requires.Tags = []string{"big"}
		}
		took[m.Name] = time.Duration(rapid.IntRange(1, 200).Draw(t, "ms")) * time.Millisecond
		p.Modules = append(p.Modules, m)
	}
	return p, took
}

// TestASlotNeverTakesTheLessUrgentOfTwoModules: when a module starts, no
// module of a higher priority that its worker could run has been ready since
// an earlier moment. With several workers it may have been for 100 ms: where
// a short attempt runs is known when it ends. And a lane is a queue: a job that
// entered it by then goes before.
func TestASlotNeverTakesTheLessUrgentOfTwoModules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, took := draw(t)
		big := jobs.Capabilities{Tags: []string{"big"}}
		workers := []forecast.Worker{{Name: "a", Slots: rapid.IntRange(1, 4).Draw(t, "slots"), Capabilities: big}}
		for i := range rapid.IntRange(0, 2).Draw(t, "more workers") {
			workers = append(workers, forecast.Worker{Name: fmt.Sprint("b", i), Slots: 2})
		}
		allowed := time.Duration(0)
		if len(workers) > 1 {
			allowed = 100 * time.Millisecond
		}
		f, err := forecast.Of(p, workers, func(m *pipeline.Module) time.Duration { return took[m.Name] }, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(f.Starts) != len(p.Modules) {
			t.Fatalf("%d of %d modules started", len(f.Starts), len(p.Modules))
		}
		priority, tagged := map[string]pipeline.Priority{}, map[string]bool{}
		for _, m := range p.Modules {
			priority[m.Name], tagged[m.Name] = m.Policy.Priority, len(m.Requires.Tags) > 0
		}
		for i, s := range f.Starts {
			for _, later := range f.Starts[i+1:] {
				could := s.Worker == "a" || !tagged[later.Module]
				behind := len(workers) > 1 && tagged[s.Module] == tagged[later.Module] && s.Queued <= later.Ready+allowed
				if could && !behind && priority[later.Module] > priority[s.Module] && later.Ready+allowed < s.At {
					t.Fatalf("%s starts at %v on %s; %s is more urgent, ready since %v, and starts at %v",
						s.Module, s.At, s.Worker, later.Module, later.Ready, later.At)
				}
			}
		}
	})
}

func TestScarceSlotsAreKeptForModulesThatNeedThem(t *testing.T) {
	tagged := module("tagged", "first")
	tagged.Requires.Tags = []string{"big"}
	first := module("first")
	first.Requires.Tags = []string{"big"}
	p := pipe(first, module("a", "first"), module("b", "first"), tagged)
	workers := []forecast.Worker{
		{Name: "big", Slots: 1, Capabilities: jobs.Capabilities{Tags: []string{"big"}}}, {Name: "small", Slots: 1},
	}
	f, err := forecast.Of(p, workers, second, nil)
	if err != nil {
		t.Fatal(err)
	}
	if f.Length != 3*time.Second {
		t.Errorf("it takes %v, want 3s: %+v", f.Length, f.Starts)
	}
	if s := f.Starts[1]; s.Module != "tagged" || s.Worker != "big" {
		t.Errorf("%s starts on %s where the tagged module should", s.Module, s.Worker)
	}
}

func TestAModuleThatNoWorkerCanRunIsAnError(t *testing.T) {
	m := module("m")
	m.Requires.Tags = []string{"gpu"}
	_, err := forecast.Of(pipe(m), []forecast.Worker{{Name: "w", Slots: 1}}, second, nil)
	if err == nil || !strings.Contains(err.Error(), "gpu") {
		t.Errorf("the error should name what is missing: %v", err)
	}
}
