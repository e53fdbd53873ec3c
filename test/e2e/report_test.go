package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// event is one line of the event stream, as a script would read it.
type event struct {
	V        int       `json:"v"`
	Time     time.Time `json:"time"`
	Seq      int       `json:"seq"`
	Run      string    `json:"run"`
	Event    string    `json:"event"`
	Module   string    `json:"module"`
	Attempt  int       `json:"attempt"`
	Worker   string    `json:"worker"`
	Status   string    `json:"status"`
	Reason   string    `json:"reason"`
	Error    string    `json:"error"`
	In       *float64  `json:"in"`
	Duration *float64  `json:"duration"`
	Stream   string    `json:"stream"`
	Text     string    `json:"text"`
	Missing  string    `json:"missing"`
	Closest  string    `json:"closest"`
	Until    time.Time `json:"until"`
}

// agrees reports whether e has all that want sets.
func (want event) agrees(e event) bool {
	return (want.Event == "" || want.Event == e.Event) &&
		(want.Module == "" || want.Module == e.Module) &&
		(want.Attempt == 0 || want.Attempt == e.Attempt) &&
		(want.Worker == "" || want.Worker == e.Worker) &&
		(want.Status == "" || want.Status == e.Status) &&
		(want.Text == "" || want.Text == e.Text)
}

func (want event) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s", want.Event, want.Module, want.Worker, want.Status, want.Text))
}

// report is the report of a run, as a script would read it.
type report struct {
	Version  int
	Run      string
	Pipeline string
	Status   string
	Started  time.Time
	Finished time.Time
	Duration float64
	Error    string
	Params   map[string]any
	Labels   map[string]string
	Commit   string
	Dirty    bool
	Workers  []string
	Warnings []string
	Modules  []module
}

type module struct {
	Name     string
	Family   string
	Matrix   map[string]string
	Status   string
	Reason   string
	Error    string
	Priority string
	Queued   time.Time
	Started  time.Time
	Finished time.Time
	Duration float64
	Wait     float64
	Outputs  map[string]any
	Attempts []attempt
}

type attempt struct {
	Number   int
	Worker   string
	Status   string
	ExitCode *int `json:"exit_code"`
	Error    string
	Started  time.Time
	Finished time.Time
}

// statuses are the modules' statuses by name.
func (r *report) statuses() map[string]string {
	m := make(map[string]string)
	for _, mod := range r.Modules {
		m[mod.Name] = mod.Status
	}
	return m
}

// module finds a module of the report by its name.
func (r *report) module(t testing.TB, name string) module {
	t.Helper()
	i := slices.IndexFunc(r.Modules, func(m module) bool { return m.Name == name })
	if i < 0 {
		t.Fatalf("no module %q in the report; it has %v", name, slices.Sorted(maps.Keys(r.statuses())))
	}
	return r.Modules[i]
}

// attempts are the statuses of a module's attempts, in order.
func (m module) attempts() string {
	var words []string
	for i, a := range m.Attempts {
		word := a.Status
		if a.Number != i+1 {
			word += fmt.Sprintf(" (number %d)", a.Number)
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}
