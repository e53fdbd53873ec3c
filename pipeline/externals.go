package pipeline

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Externals are what a file finds in the Go program that includes it.
type Externals struct {
	Modules   map[string]External // by name, families too
	Functions []string            // that `uses: go:NAME` may name
}

// External is a module outside of a file.
type External struct {
	File   string // the file that has it; empty when the program's code does
	Family bool
	Result bool // it is a Go function's: .result, no .outputs
}

// ParseIn reads a pipeline file that a program includes: needs may name the
// program's modules, and uses its functions. The error is a Faults.
func ParseIn(name string, src []byte, x *Externals) (*File, error) { return parse(name, src, x) }

// ModuleNames are the modules of a file that need not be without faults.
func ModuleNames(src []byte) (map[string]External, error) {
	names := map[string]External{}
	err := eachModule(src, func(name string, m *node) {
		names[name] = External{Family: m.get("matrix") != nil, Result: m.get("uses") != nil}
	})
	return names, err
}

// ModuleOrder is the names of ModuleNames in the order of the file.
func ModuleOrder(src []byte) ([]string, error) {
	var names []string
	err := eachModule(src, func(name string, _ *node) { names = append(names, name) })
	return names, err
}

// eachModule calls f for every module of a file.
func eachModule(src []byte, f func(name string, m *node)) error {
	src = bytes.TrimPrefix(src, byteOrderMark)
	c := newCollector(newFileText("", src))
	root := readTree(c, src)
	if root == nil {
		return c.err()
	}
	modules := root.get("modules")
	if modules == nil || modules.Kind != mapNode {
		return nil
	}
	for i, k := range modules.Keys {
		f(k.Value, modules.Items[i])
	}
	return nil
}

// declarations are the externals of a file as its own modules would be.
func (x *Externals) declarations(name string) map[string]*declaration {
	all := map[string]*declaration{}
	if x == nil {
		return all
	}
	for external, e := range x.Modules {
		if e.File == name {
			continue // its own
		}
		d := &declaration{name: external, result: e.Result}
		if e.Family {
			d.axes.names = []string{}
		}
		all[external] = d
	}
	return all
}

// Line is the line of a module of the file.
func (f *File) Line(m *Module) int {
	for _, name := range []string{m.Family, m.Name} {
		if d := f.declarations[name]; d != nil {
			return d.key.Line
		}
	}
	return 0
}

// Uses is the Go function that the module with one of these names calls.
func (f *File) Uses(names ...string) (function string, ok bool) {
	for _, name := range names {
		if d := f.declarations[name]; d != nil && d.result {
			return strings.TrimPrefix(d.tree.get("uses").Value, "go:"), true
		}
	}
	return "", false
}

// ValidName says what is wrong with the name of a module, a parameter or a
// limit; nil when nothing is.
func ValidName(s string) error { return validName(s) }

// Suggest says which of the known words may have been meant.
func Suggest(word string, known []string) string { return knownOr(word, known, "there are") }

// StandIn is a value that a parameter might have, for validation without a run.
func (p Param) StandIn() string {
	switch {
	case len(p.Options) > 0:
		return p.Options[0]
	case p.Type == "number":
		return "0"
	case p.Type == "boolean":
		return "false"
	}
	return ""
}

const usesPattern = `^go:[A-Za-z_][A-Za-z0-9_-]{0,62}$`

func validUses(s string) error {
	name, ok := strings.CutPrefix(s, "go:")
	if !ok {
		return fmt.Errorf("%q is not go:NAME, a Go function of the program; there are no actions: write their commands in run, and leave out a checkout, since commands run in the work tree", s)
	}
	return validName(name)
}

// function decodes uses and with.
func (d *decoder) function() *Func {
	n := d.tree.get("uses")
	with := d.tree.get("with")
	if n == nil {
		if with != nil {
			d.fault(d.tree.Keys[d.tree.index("with")], "write env: to hand values to a command", "with is for uses")
		}
		return nil
	}
	for _, other := range []string{"run", "command"} {
		if d.tree.get(other) != nil {
			d.fault(d.tree.Keys[d.tree.index("uses")], "", "a module has uses or %s, not both", other)
			return nil
		}
	}
	if !d.ok(n) || n.Kind != scalarNode {
		return nil
	}
	name := strings.TrimPrefix(n.Value, "go:")
	switch x := d.e.vocab.externals; {
	case d.e.vocab.lenient:
	case x == nil:
		d.fault(n, "a program that includes the file has it", "uses names a Go function, and this program has none")
		return nil
	case !slices.Contains(x.Functions, name):
		d.fault(n, d.knownOr(name, x.Functions, "it has"), "the program has no function %q", name)
		return nil
	}
	f := &Func{Name: name, Uses: true}
	if with == nil || with.Kind != mapNode {
		return f
	}
	for i, k := range with.Keys {
		if v := with.Items[i]; d.ok(k) && d.ok(v) && v.Kind == scalarNode {
			f.With = append(f.With, Var{Name: k.Value, Value: d.textNode(v, d.e, "with", ready)})
		}
	}
	return f
}

// ResolveWith puts the results of needs into what a file gives a function.
func (p *Pipeline) ResolveWith(m *Module, s Scope) (map[string]string, error) {
	if m.Func == nil || len(m.Func.With) == 0 {
		return nil, nil
	}
	e, scope := p.evaluator(m), scopeOf(m, s)
	with := map[string]string{}
	for _, v := range m.Func.With {
		text, err := v.Value.resolve(e, "with "+v.Name, scope)
		if err != nil {
			return nil, err
		}
		with[v.Name] = text
	}
	return with, nil
}
