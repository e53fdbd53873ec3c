// Package modpipetest runs a pipeline of Go modules under go test: in memory,
// without NATS, in milliseconds, by the engine's own decisions.
//
//	func TestOnlyMainIsPublished(t *testing.T) {
//		p := modpipetest.New(t, release, modpipetest.Stub("checkout", Checkout{Branch: "topic"}))
//		if o := p.Outcome("publish"); o.Status != "skipped" {
//			t.Errorf("publish: %v", o)
//		}
//	}
//
// Functions run one after the other, each attempt in its own run of the definition,
// as it would on another machine; results are encoded and decoded between
// them. A function that produces or consumes files has a directory of its own, and
// artifacts are kept in memory. Delays between attempts pass immediately; inside a bubble of
// testing/synctest, waits of the functions do too. Commands are not
// run: Stub gives their outputs.
package modpipetest

import (
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/modpipe/modpipe"
	"github.com/modpipe/modpipe/internal/wire"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// Pipeline is a pipeline under test, and its one run.
type Pipeline struct {
	t       testing.TB
	program *modpipe.Program
	graph   *pipeline.Pipeline
	params  map[string]string
	stubs   map[string]stub
	secrets map[string]string
	state   *schedule.Run // nil before the run
	logs    map[string]*strings.Builder
	left    map[string]map[string]fs.FS // artifacts, by module and name
	stubbed map[string]map[string]fs.FS // those that StubFiles gives
}

// stub replaces the function or command of a module.
type stub struct {
	value  any
	result reflect.Type
	err    error
}

// Option changes what runs.
type Option interface{ apply(*Pipeline) }

type option func(*Pipeline)

func (o option) apply(p *Pipeline) { o(p) }

// Stub gives a module its result, and keeps its function or command from being
// run. A family's name means all its members. A command's result is its
// outputs, a map[string]string.
func Stub[T any](module string, result T) Option {
	return option(func(p *Pipeline) { p.stubs[module] = stub{value: result, result: reflect.TypeFor[T]()} })
}

// StubError makes a module fail with an error, in every attempt.
func StubError(module string, err error) Option {
	return option(func(p *Pipeline) { p.stubs[module] = stub{err: err} })
}

// Param gives the run a parameter, as --param does.
func Param(name, value string) Option {
	return option(func(p *Pipeline) { p.params[name] = value })
}

// Secret gives the run a secret, as --secret does. A module whose secret is not given
// fails, unless it has a stub.
func Secret(name, value string) Option {
	return option(func(p *Pipeline) { p.secrets[name] = value })
}

// New builds a pipeline; a fault in it fails the test.
func New(t testing.TB, define func(*modpipe.Builder), opts ...Option) *Pipeline {
	t.Helper()
	p := &Pipeline{t: t, params: map[string]string{}, stubs: map[string]stub{}, secrets: map[string]string{}, logs: map[string]*strings.Builder{}, left: map[string]map[string]fs.FS{}, stubbed: map[string]map[string]fs.FS{}}
	program, err := modpipe.Build(programName(t), define)
	if err != nil {
		t.Fatalf("the pipeline has faults:\n%v", err)
	}
	p.program = program
	for _, o := range opts {
		o.apply(p)
	}
	if p.graph, err = program.Pipeline(p.params, nil); err != nil {
		t.Fatalf("the pipeline has faults:\n%v", err)
	}
	p.checkStubs()
	p.checkStubFiles()
	return p
}

// programName is the test's name as a program may be called.
func programName(t testing.TB) string {
	t.Helper()
	name, _, _ := strings.Cut(t.Name(), "/")
	return name
}

func (p *Pipeline) checkStubs() {
	p.t.Helper()
	for name, s := range p.stubs {
		want := p.resultType(name)
		switch {
		case want == nil:
			p.t.Fatalf("Stub: no module is called %q", name)
		case !p.mayRun(name):
			p.t.Fatalf("Stub: no member is called %q; there are %s", name, strings.Join(p.membersLike(name), ", "))
		case s.err == nil && s.result != want:
			p.t.Fatalf("Stub: %s returns %s, not %s", name, want, s.result)
		}
	}
}

// resultType is the type of a module's result; nil without a module of that name.
func (p *Pipeline) resultType(name string) reflect.Type {
	if t := p.program.ResultType(name); t != nil {
		return t
	}
	for _, m := range p.graph.Modules {
		if m.Command != nil && (m.Name == name || m.Family == name) {
			return reflect.TypeFor[map[string]string]()
		}
	}
	return nil
}

// mayRun reports whether a module or family of this name is in the graph, or
// may come into it when a family is expanded.
func (p *Pipeline) mayRun(name string) bool {
	family, _, _ := strings.Cut(name, " (")
	return slices.ContainsFunc(p.graph.Modules, func(m *pipeline.Module) bool {
		return m.Name == name || m.Family == name || m.Dynamic != nil && m.Family == family
	})
}

// membersLike lists the members of the family that a name belongs to.
func (p *Pipeline) membersLike(name string) []string {
	family, _, _ := strings.Cut(name, " (")
	var names []string
	for _, m := range p.graph.Modules {
		if m.Family == family {
			names = append(names, m.Name)
		}
	}
	return names
}

// checkStubsRan fails the test for a stub of a member that its family has not got.
func (p *Pipeline) checkStubsRan() {
	p.t.Helper()
	rep, err := p.state.Report(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	var names []string
	for _, m := range rep.Modules {
		names = append(names, m.Name)
	}
	for name := range p.stubs {
		family, _, member := strings.Cut(name, " (")
		ended := slices.Contains(names, family) // the family was not expanded
		if member && !ended && !slices.Contains(names, name) {
			p.t.Fatalf("Stub: %s never runs: the run has no such member; there are %s", name, strings.Join(names, ", "))
		}
	}
}

// Run runs the pipeline, once, and returns how the run has ended: succeeded,
// failed or cancelled. Result, Outcome and the other methods run it first if necessary.
func (p *Pipeline) Run() string {
	p.t.Helper()
	if p.state == nil {
		p.play()
	}
	return string(p.state.Ended().Status)
}

// Report is the run's report.
func (p *Pipeline) Report() *report.Report {
	p.t.Helper()
	p.Run()
	rep, err := p.state.Report(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return rep
}

// Outcome is how a module has ended; an unknown name fails the test.
func (p *Pipeline) Outcome(module string) modpipe.Outcome {
	p.t.Helper()
	m := p.module(module)
	reason := m.Reason
	if m.Error != "" {
		reason = m.Error
	}
	return modpipe.Outcome{Module: m.Name, Status: string(m.Status), Reason: reason}
}

// Attempts is how many attempts of a module were started.
func (p *Pipeline) Attempts(module string) int {
	p.t.Helper()
	return len(p.module(module).Attempts)
}

// Log is the log of a module's functions, in all its attempts.
func (p *Pipeline) Log(module string) string {
	p.t.Helper()
	p.module(module)
	if b := p.logs[module]; b != nil {
		return b.String()
	}
	return ""
}

func (p *Pipeline) module(name string) report.Module {
	p.t.Helper()
	var names []string
	for _, m := range p.Report().Modules {
		if m.Name == name {
			return m
		}
		names = append(names, m.Name)
	}
	p.t.Fatalf("no module is called %q; there are %s", name, strings.Join(names, ", "))
	return report.Module{}
}

// Result is the result of a module. It fails the test when the module has no result,
// or one of another type.
func Result[T any](p *Pipeline, module string) T {
	p.t.Helper()
	var result T
	o := p.Outcome(module)
	if !o.Succeeded() {
		p.t.Fatalf("%s has no result: %s", module, o)
	}
	if want := p.resultType(module); want != nil && want != reflect.TypeFor[T]() {
		p.t.Fatalf("%s returns %s, not %s", module, want, reflect.TypeFor[T]())
	}
	value := p.state.Outputs(module)
	if value.Kind == jobs.OutputsValue {
		outputs, err := value.Outputs()
		if err != nil {
			p.t.Fatal(fmt.Errorf("read the outputs of %s: %w", module, err))
		}
		values, ok := any(outputs).(T)
		if !ok {
			p.t.Fatalf("%s is a command: its result is a map[string]string", module)
		}
		return values
	}
	if err := wire.Decode(value.Inline, &result); err != nil {
		p.t.Fatal(fmt.Errorf("read the result of %s: %w", module, err))
	}
	return result
}
