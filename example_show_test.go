package modpipe_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/modpipe/modpipe"
	"github.com/modpipe/modpipe/modpipetest"
)

// printer is a test that prints what would fail it: examples have none.
type printer struct{ testing.TB }

func (printer) Helper()                        {}
func (printer) Name() string                   { return "example" }
func (printer) Context() context.Context       { return context.Background() }
func (printer) Fatal(args ...any)              { panic(fmt.Sprintln(args...)) }
func (printer) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

// run runs a pipeline in memory and prints how its modules have ended, and
// what they returned.
func run(define func(*modpipe.Builder), opts ...modpipetest.Option) {
	for _, m := range modpipetest.New(printer{}, define, opts...).Report().Modules {
		reason := m.Reason
		if m.Error != "" {
			reason, _, _ = strings.Cut(m.Error, "\n")
		}
		if m.Result != nil {
			result, _ := json.Marshal(m.Result)
			reason = string(result)
		}
		fmt.Println(strings.TrimSpace(m.Name + ": " + string(m.Status) + " " + reason))
	}
}

// graph prints what waits for what.
func graph(define func(*modpipe.Builder)) {
	p, err := modpipe.Build("example", define)
	if err != nil {
		fmt.Println(err)
		return
	}
	g, err := p.Pipeline(nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range g.Modules {
		var needs []string
		for _, n := range m.Needs {
			word := n.Module
			if n.Optional {
				word += "?"
			}
			needs = append(needs, word)
		}
		fmt.Println(strings.TrimSpace(m.Name + " <- " + strings.Join(needs, ", ")))
	}
}
