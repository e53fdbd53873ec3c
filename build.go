package modpipe

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/modpipe/modpipe/pipeline"
)

// Build runs a definition and finds every mistake in it: the error is a
// pipeline.Faults, each with the file and line of the user's code. The
// definition is run twice, and must make the same graph both times, because
// every worker runs it too.
func Build(name string, define func(*Builder)) (*Program, error) {
	first := run(name, define)
	if len(first.faults) > 0 {
		return nil, dress(first.faults)
	}
	second := run(name, define)
	p := &Program{name: name, define: define, builder: first, graph: first.digest()}
	if second.digest() != p.graph {
		return nil, dress(pipeline.Faults{first.difference(second)})
	}
	first.shared = shared{} // every module has its needs now
	return p, nil
}

// run runs a definition once.
func run(name string, define func(*Builder)) *Builder {
	b := newBuilder(name)
	if define == nil {
		b.fault(callSite{}, "", "there is no definition: the func(*modpipe.Builder) is nil")
		return b
	}
	b.define(define)
	b.check()
	return b
}

// define calls the definition, which may panic.
func (b *Builder) define(f func(*Builder)) {
	oneAtATime.Lock()
	defer oneAtATime.Unlock()
	current.Store(b)
	defer current.Store(nil)
	defer func() {
		if v := recover(); v != nil {
			b.fault(panicked(), "", "the definition panics: %v", v)
		}
	}()
	f(b)
}

// panicked is where the user's code has panicked.
func panicked() callSite {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "runtime.") {
			return callSite{f.File, f.Line}
		}
		if !more {
			return callSite{}
		}
	}
}

// check finds the mistakes in the definition that was run.
func (b *Builder) check() {
	b.settle()
	for _, e := range b.calls {
		if !e.added {
			b.fault(e.at, "hand it to Add, or take it out", "a call that was never added to the pipeline")
		}
	}
	for _, m := range b.modules {
		m.checkReads()
	}
	b.parse()
	if len(b.faults) > 0 {
		b.checkRest()
		return
	}
	if _, err := b.assemble(b.standIns(), nil); err != nil {
		b.faults = append(b.faults, asFaults(err)...)
	}
}

// settle applies the Builder's fields to all modules, wherever the definition has set
// them.
func (b *Builder) settle() {
	if b.Deadline < 0 {
		b.fault(callSite{}, "", "the Deadline of the Builder is negative")
	}
	if b.Grace < 0 {
		b.fault(callSite{}, "", "the Grace of the Builder is negative")
	}
	for _, m := range b.modules {
		if b.Grace > 0 && !m.ownGrace {
			m.node.Policy.Grace = b.Grace
		}
	}
}

// checkRest finds further faults of the definition's modules after a first one
// was found. It leaves out faults at the same place, and those that may follow
// from the first, such as a need of a module that does not exist.
func (b *Builder) checkRest() {
	said := map[pipeline.Place]bool{}
	for _, f := range b.faults {
		said[pipeline.Place{File: shown(f.File), Line: f.Line}] = true
	}
	p := &pipeline.Pipeline{Name: b.Name, FailSlow: b.FailSlow, Deadline: b.Deadline, Limits: b.limitSizes(), ClusterLimits: b.clusterLimits()}
	var places []pipeline.Place
	for _, m := range b.modules {
		n := m.finished()
		n.Needs = slices.DeleteFunc(slices.Clone(n.Needs), func(need pipeline.Need) bool { return b.byName[need.Module] == nil })
		p.Modules, places = append(p.Modules, n), append(places, m.at.position())
	}
	if len(p.Modules) == 0 {
		return
	}
	err := pipeline.Assemble(p, places)
	if err == nil {
		return
	}
	for _, f := range asFaults(err) {
		if !said[pipeline.Place{File: f.File, Line: f.Line}] {
			b.faults = append(b.faults, f)
		}
	}
}

// checkReads finds results that may not be there when they are read.
func (m *module) checkReads() {
	for _, t := range m.taken {
		if zero, ok := t.up.zero(); ok {
			m.b.fault(zero, "", "%s reads a value that no Add has returned", m.name)
		}
	}
	said := map[string]bool{}
	for e := range m.edges {
		if !e.reads || e.optional || said[e.name] {
			continue
		}
		of := m.b.byName[e.name]
		why := ""
		switch {
		case m.node.Policy.AlwaysRun:
			why = "it always runs, also when " + e.name + " has failed or was skipped"
		case of != nil && of.node.Policy.IgnoreFailure:
			why = "a failure of " + e.name + " is ignored"
		default:
			continue
		}
		said[e.name] = true
		m.b.fault(e.at, "read it by modpipe.Optional", "%s reads the result of %s, which may not be there: %s", m.name, e.name, why)
	}
}

func asFaults(err error) pipeline.Faults {
	if f, ok := err.(pipeline.Faults); ok { //nolint:errorlint // documented: it is one
		return f
	}
	return pipeline.Faults{{Text: err.Error()}}
}

// standIns are values for parameters that a run would have to give.
func (b *Builder) standIns() map[string]string {
	given := map[string]string{}
	for _, p := range b.params {
		if p.Required {
			given[p.Name] = p.standIn
		}
	}
	for _, inc := range b.includes {
		if inc.file == nil {
			continue
		}
		for _, p := range inc.file.Params() {
			if p.Required && p.Default == nil {
				given[p.Name] = p.StandIn()
			}
		}
	}
	return given
}

// digest is a hash of everything that a definition has to do alike in every process.
func (b *Builder) digest() string {
	h := sha256.New()
	for _, part := range b.parts() {
		_, _ = fmt.Fprintf(h, "%d:%s", len(part.text), part.text) // a hash never fails
	}
	return hex.EncodeToString(h.Sum(nil))
}

// part is one thing that a definition has made, as text.
type part struct {
	what string
	at   callSite
	text string
}

func (b *Builder) parts() []part {
	list := make([]part, 0, len(b.modules)+len(b.params)+len(b.includes)+2)
	list = append(list, part{"the pipeline's own fields", callSite{}, describe(b.Name, b.Deadline, b.FailSlow)})
	for _, p := range b.params {
		list = append(list, part{"parameter " + p.Name, p.at, describe(p.Param)})
	}
	for _, m := range b.modules {
		list = append(list, part{m.name, m.at, m.describe()})
	}
	for _, inc := range b.includes {
		list = append(list, part{"file " + inc.name, inc.at, string(inc.text)})
	}
	names := make([]string, 0, len(b.functions))
	for name, u := range b.functions {
		names = append(names, name+" "+u.input.String()+" "+u.result.String())
	}
	slices.Sort(names)
	functions := describe(names, b.limitSizes())
	if shared := b.clusterLimits(); shared != nil {
		functions += describe(shared)
	}
	return append(list, part{"the functions", callSite{}, functions})
}

func describe(values ...any) string {
	text, err := json.Marshal(values)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (m *module) describe() string {
	n := m.finished()
	list := ""
	if m.each != nil {
		list = m.each.list
	}
	var otherwise []string
	for _, c := range m.conds {
		otherwise = append(otherwise, c.otherwise)
	}
	needs := m.b.shared.digest(n.Needs)
	n.Needs = nil
	sum := sha256.Sum256([]byte(describe(n, needs, m.result.String(), list, otherwise, m.retryIf != nil, m.retryPanics)))
	return string(sum[:])
}

// difference names the first thing that two runs of a definition have made
// differently.
func (b *Builder) difference(other *Builder) pipeline.Fault {
	mine, theirs := b.parts(), other.parts()
	const why = "a definition runs on every worker and may not depend on time, chance, flags, files or the order of a map"
	for i := range min(len(mine), len(theirs)) {
		p, q := mine[i], theirs[i]
		switch {
		case p == q:
		case p.what != q.what:
			return pipeline.Fault{File: p.at.file, Line: p.at.line, Suggestion: why, Text: fmt.Sprintf("the definition makes another graph when it runs again: %s, then %s", p.what, q.what)}
		default:
			return pipeline.Fault{File: p.at.file, Line: p.at.line, Suggestion: why, Text: fmt.Sprintf("the definition makes another graph when it runs again: %s is not the same", p.what)}
		}
	}
	return pipeline.Fault{Suggestion: why, Text: fmt.Sprintf("the definition makes another graph when it runs again: %d modules, then %d", len(b.modules), len(other.modules))}
}

// executable is the digest of this program's file, read once.
var executable = sync.OnceValues(func() (string, error) {
	name, err := os.Executable()
	if err != nil {
		return "", err
	}
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // it was only read
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
})
