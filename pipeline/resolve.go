package pipeline

import (
	"errors"
	"fmt"
	"slices"
)

// Resolve returns the modules that a need of m names, as indices in modules (the engine's list, which grows when families expand).
// families: name → indices. A family that is not expanded is its placeholder, and a placeholder needs all members.
func Resolve(m *Module, n Need, modules []*Module, byName map[string]int, families map[string][]int) []int {
	members, family := families[n.Module]
	if !family {
		if i, ok := byName[n.Module]; ok {
			return []int{i}
		}
		return nil
	}
	var found []int
	for _, i := range members {
		if modules[i].Dynamic != nil || m.Dynamic != nil || sameValues(m.Matrix, modules[i].Matrix, n.Same) {
			found = append(found, i)
		}
	}
	return found
}

func sameValues(a, b []Coordinate, axes []string) bool {
	for _, axis := range axes {
		v, ok := valueOn(a, axis)
		w, there := valueOn(b, axis)
		if ok != there || v != w {
			return false
		}
	}
	return true
}

func valueOn(pairs []Coordinate, axis string) (string, bool) {
	for _, p := range pairs {
		if p.Axis == axis {
			return p.Value, true
		}
	}
	return "", false
}

// Condition evaluates m.If; true without one. Its errors name the expression and its place.
func (p *Pipeline) Condition(m *Module, s Scope) (bool, error) {
	if m.If == "" {
		return true, nil
	}
	e := p.evaluator(m)
	x, faults := e.compile(m.If, "if", ready, true)
	if len(faults) > 0 {
		return false, atExpr(m.IfAt, "if", m.If, errors.New(faults[0].text))
	}
	v, err := x.run(e.env(x, scopeOf(m, s)))
	if err != nil {
		return false, atExpr(m.IfAt, "if", m.If, err)
	}
	yes, ok := v.(bool)
	if !ok {
		text, _ := textOf(v)
		return false, atExpr(m.IfAt, "if", m.If, fmt.Errorf("it must be true or false, and is %s", quoteShort(text)))
	}
	return yes, nil
}

// ConditionReads are the direct needs of m whose outputs its condition reads; of a placeholder, what its axes read.
func (m *Module) ConditionReads() []string {
	if m.Dynamic != nil {
		return slices.Clone(m.Dynamic.Reads)
	}
	return m.outputsRead(m.If)
}

// TextReads are the direct needs of m whose outputs its env, command, stdin and
// cache key read, or its artifacts and the keys of its cache directories.
func (m *Module) TextReads() []string {
	return m.outputsRead(append(m.expressions(), m.lateExpressions()...)...)
}

// Static reports whether the texts of m read nothing that is known only when
// it has become ready: ResolveCommand needs no Scope.
func (m *Module) Static() bool { return len(m.expressions()) == 0 }

// expressions are the sources left in the env, command, stdin, with and cache key of m.
func (m *Module) expressions() []string {
	var exprs []string
	gather := func(t Text) {
		for _, part := range t {
			if part.Expr != "" {
				exprs = append(exprs, part.Expr)
			}
		}
	}
	if m.Func != nil {
		for _, v := range m.Func.With {
			gather(v.Value)
		}
	}
	if m.Cache != nil {
		for _, t := range m.Cache.Key {
			gather(t)
		}
	}
	if m.Command == nil {
		return exprs
	}
	for _, t := range m.Command.Args {
		gather(t)
	}
	for _, v := range m.Command.Env {
		gather(v.Value)
	}
	gather(m.Command.Stdin)
	return exprs
}

// reads reports whether t has an expression.
func (t Text) reads() bool { return slices.ContainsFunc(t, func(p Part) bool { return p.Expr != "" }) }

// outputsRead are the needs whose outputs some expression reads, in the order of m.Needs.
func (m *Module) outputsRead(exprs ...string) []string {
	var names []string
	read := map[string]bool{}
	for _, src := range exprs {
		if src == "" {
			continue
		}
		for name, outputs := range readsOf(src, m.vocabulary()).needs {
			read[name] = read[name] || outputs
		}
	}
	for _, n := range m.Needs {
		if read[n.Module] {
			names = append(names, n.Module)
		}
	}
	return names
}

// Resolved is a command with every expression put in.
type Resolved struct {
	Run, Shell string // exactly one of Run and Args is set
	Args       []string
	Dir        string
	Env        []KeyValue // the pipeline's own
	ModuleEnv  []KeyValue // the module's own, over it: two lists, because `run --env` comes between them
	PassEnv    []string
	Stdin      string
	Warnings   []string // outputs that were not set, and are empty in the env of an always-run module
}

// ResolveCommand puts the results of needs into the command of m. Env of an
// always-run module gets empty text and a warning for outputs that were not set.
func (p *Pipeline) ResolveCommand(m *Module, s Scope) (Resolved, error) {
	if m.Command == nil {
		return Resolved{}, fmt.Errorf("%s is no command", m.Name)
	}
	e, scope := (*evaluator)(nil), &runtimeScope{}
	if !m.Static() || slices.ContainsFunc(p.Env, func(v Var) bool { return v.Value.reads() }) {
		e, scope = p.evaluator(m), scopeOf(m, s) // costs as much as m has needs
	}
	r := Resolved{Run: m.Command.Run, Shell: m.Command.Shell, Dir: m.Command.Dir, PassEnv: slices.Clone(m.Command.PassEnv)}
	var errs []error
	put := func(t Text, field string, scope *runtimeScope) string {
		v, err := t.resolve(e, field, scope)
		if err != nil {
			errs = append(errs, err)
		}
		return v
	}
	for _, t := range m.Command.Args {
		r.Args = append(r.Args, put(t, "command", scope))
	}
	r.Stdin = put(m.Command.Stdin, "stdin", scope)
	for _, v := range p.Env {
		r.Env = append(r.Env, KeyValue{v.Name, put(v.Value, "env "+v.Name, scope)})
	}
	for _, v := range m.Command.Env {
		mine := *scope
		mine.empty = m.Policy.AlwaysRun
		r.ModuleEnv = append(r.ModuleEnv, KeyValue{v.Name, put(v.Value, "env "+v.Name, &mine)})
		for _, w := range mine.warnings {
			r.Warnings = append(r.Warnings, fmt.Sprintf("env %s is empty in part: %s", v.Name, w))
		}
	}
	return r, errors.Join(errs...)
}

// ResolveKey puts the results of needs into the key of m's cache. It returns nil
// for a module without one.
func (p *Pipeline) ResolveKey(m *Module, s Scope) ([]string, error) {
	if m.Cache == nil || len(m.Cache.Key) == 0 {
		return nil, nil
	}
	e, scope := (*evaluator)(nil), &runtimeScope{}
	if slices.ContainsFunc(m.Cache.Key, Text.reads) {
		e, scope = p.evaluator(m), scopeOf(m, s)
	}
	key := make([]string, len(m.Cache.Key))
	var errs []error
	for i, t := range m.Cache.Key {
		var err error
		if key[i], err = t.resolve(e, "cache key", scope); err != nil {
			errs = append(errs, err)
		}
	}
	return key, errors.Join(errs...)
}
