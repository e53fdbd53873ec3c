package progress

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/golden"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// history is a run with every kind of event.
func history() ([]report.Event, *report.Report) {
	at := func(s float64, e report.Event) report.Event {
		e.Time, e.Run = start.Add(time.Duration(s*float64(time.Second))), "r1"
		return e
	}
	events := []report.Event{
		at(0, report.Event{Event: report.EventRunStarted, Pipeline: "ci", Modules: 4}),
		at(0, report.Event{Event: report.EventWorkerJoined, Worker: "w1", Slots: 8}),
		at(0, report.Event{Event: report.EventModuleReady, Module: "build"}),
		at(0.1, report.Event{Event: report.EventModuleStarted, Module: "build", Attempt: 1, Worker: "w1"}),
		at(1, report.Event{Event: report.EventWaiting, Module: "train", Missing: "tag gpu", Closest: "w1"}),
		at(2, report.Event{Event: report.EventModuleRetrying, Module: "build", Attempt: 1, Worker: "w1", ExitCode: new(75), In: new(1.5), Error: "exit code 75"}),
		at(3, report.Event{Event: report.EventWorkerLost, Worker: "w2", Reason: "silent for 3s"}),
		at(3.5, report.Event{Event: report.EventModuleStarted, Module: "build", Attempt: 2, Worker: "w1"}),
	}
	for n := range 25 {
		events = append(events, at(3.6, report.Event{Event: report.EventModuleOutput, Module: "build", Attempt: 2, Stream: "stdout", Text: fmt.Sprintf("line %d", n+1)}))
	}
	events = append(events,
		at(4, report.Event{Event: report.EventFamilyExpanded, Module: "test", Modules: 2}),
		at(65, report.Event{Event: report.EventModuleEnded, Module: "build", Attempt: 2, Worker: "w1", Status: "failed", Error: "exit code 1", ExitCode: new(1), Duration: new(61.5)}),
		at(65, report.Event{Event: report.EventModuleEnded, Module: "train", Status: "dependency_failed", Reason: "build failed", Error: "build failed: exit code 1", Duration: new(0.0)}),
		at(65, report.Event{Event: report.EventWorkerLost, Worker: "w3", Reason: "left"}),
		at(65, report.Event{Event: report.EventRunEnded, Status: "failed", Error: "build failed: exit code 1", Duration: new(65.0)}),
	)
	return events, &report.Report{
		Run: "r1", Pipeline: "ci", Status: report.RunFailed, Duration: 65, Error: "build failed: exit code 1", Warnings: []string{"something is odd"},
		Modules: []report.Module{
			{Name: "build", Status: "failed", Error: "exit code 1", Started: &start, Duration: 61.5, Attempts: []report.Attempt{{Number: 1, Worker: "w1"}, {Number: 2, Worker: "w1"}}},
			{Name: "train", Status: "dependency_failed", Reason: "build failed", Error: "build failed: exit code 1"},
			{Name: "docs", Status: "skipped", Reason: "not selected"},
			{Name: "lint", Status: "succeeded", Started: &start, Duration: 0.25, Attempts: []report.Attempt{{Number: 1, Worker: "w1"}}},
		},
	}
}

func show(p Progress) {
	events, rep := history()
	p.Note("embedded, %d slots", 8)
	for _, e := range events {
		p.Event(e)
	}
	p.End(rep)
}

func TestProgress(t *testing.T) {
	for name, make := range map[string]func(*bytes.Buffer) Progress{
		"progress_plain.txt": func(b *bytes.Buffer) Progress { return newPlainProgress(b, false, []string{"build", "train"}) },
		"progress_quiet.txt": func(b *bytes.Buffer) Progress {
			return newQuietProgress(b, false)
		},
		"progress.jsonl": func(b *bytes.Buffer) Progress { return newJSONProgress(b) },
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			show(make(&b))
			golden.Compare(t, name, b.String())
		})
	}
}

// TestJSONEventsAreNumberedFromOne checks that events of the run and of the fleet are
// one stream, and that the error of a failing command is a line like the others.
func TestJSONEventsAreNumberedFromOne(t *testing.T) {
	var b bytes.Buffer
	p := newJSONProgress(&b)
	show(p)
	p.Logger().Info("not of interest")
	p.Logger().With("url", "nats://a").Warn("waiting\nfor NATS", "error", errors.New("no servers"))
	p.Close()
	if want := `"event":"warning","text":"waiting\nfor NATS url=nats://a error=\"no servers\""`; !strings.Contains(b.String(), want) || strings.Contains(b.String(), "not of interest") {
		t.Errorf("no %s in\n%s", want, &b)
	}
	p.failure("NATS is away")
	n := uint64(0)
	for line := range strings.Lines(b.String()) {
		n++
		var e report.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Seq != n || e.V != 1 || e.Run != "r1" {
			t.Errorf("line %d: %s, %v", n, line, err)
		}
	}
}

// TestSummaryFoldsManySuccesses also checks that it never folds failures.
func TestSummaryFoldsManySuccesses(t *testing.T) {
	r := &report.Report{Run: "r1", Status: report.RunFailed}
	for i := range 60 {
		for _, status := range []report.Status{report.Succeeded, report.Failed, report.IgnoredFailure} {
			r.Modules = append(r.Modules, report.Module{Name: fmt.Sprintf("%s-%d", status, i), Status: status})
		}
	}
	r.Modules = append(r.Modules, report.Module{Name: "alone", Status: "cancelled"})
	var b bytes.Buffer
	WriteSummary(&b, r, false)
	text := b.String()
	if strings.Contains(text, "succeeded-") || !strings.Contains(text, "(60 modules)") {
		t.Errorf("what succeeded is not folded:\n%s", text)
	}
	for _, want := range []string{"failed-59", "ignored_failure-59", "alone", "181 modules: 60 succeeded, 60 failed, 60 ignored_failure, 1 cancelled"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestColourChangesNoWords(t *testing.T) {
	var plain, painted bytes.Buffer
	show(newPlainProgress(&plain, false, nil))
	show(newPlainProgress(&painted, true, nil))
	stripped := strings.NewReplacer("\x1b[0m", "", "\x1b[31m", "", "\x1b[32m", "", "\x1b[33m", "", "\x1b[90m", "").Replace(painted.String())
	if painted.String() == plain.String() || stripped != plain.String() {
		t.Errorf("painted:\n%q\nplain:\n%q", stripped, plain.String())
	}
}
