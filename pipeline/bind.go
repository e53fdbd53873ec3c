package pipeline

import (
	"fmt"
	"maps"
	"slices"
)

// maxModules bounds a pipeline with all its static members.
const maxModules = 50_000

// Bind makes the graph with these parameters (as text, from --param; absent: env of FromEnv via lookup, then the default).
// The error is a Faults.
func (f *File) Bind(params map[string]string, lookupEnv func(string) (string, bool)) (*Pipeline, error) {
	c := newCollector(f.src)
	bound := c.bindParams(f, params, lookupEnv)
	if err := c.err(); err != nil {
		return nil, err
	}
	b := &binder{
		collector: c, file: f, byName: f.byName(), prefixes: tokenPrefixes(f.modules), bound: bound,
		out: &Pipeline{Name: f.name, Limits: maps.Clone(f.limits), ClusterLimits: slices.Clone(f.cluster), Families: map[string][]int{}, Warnings: f.Warnings()},
	}
	b.out.Params, b.out.Decimals = travelling(bound)
	b.top()
	for _, d := range f.modules {
		if c.full() || b.members > maxMerged {
			break
		}
		b.module(d)
		if len(b.out.Modules) > maxModules {
			c.fault(d.key, "", "the pipeline has more than %d modules", maxModules)
			break
		}
	}
	b.checkSame()
	b.checkArtifacts()
	if err := c.err(); err != nil {
		return nil, err
	}
	return b.out, nil
}

// binder puts parameters into a file.
type binder struct {
	*collector
	file     *File
	byName   map[string]*declaration
	prefixes map[string]string
	bound    map[string]any
	needs    NeedLists
	members  int // values that those of families have together
	out      *Pipeline
}

// top binds the keys beside the modules.
func (b *binder) top() {
	e := b.file.vocabulary(nil, nil).evaluator()
	e.params = b.bound
	root := b.file.root
	d := &decoder{collector: b.collector, e: e, tree: root, limits: b.file.limits}
	b.out.Env = d.env(root.get("env"), graph)
	b.out.PassEnv, b.out.RequiredEnv = sortedSet(d.passEnv(root.get("pass-env"))), d.requiredEnv(root.get("pass-env"))
	b.out.FailSlow = !b.flag(root.get("fail-fast"), true)
	b.out.Deadline = d.duration(root, fileShape, "deadline", 0)
	b.out.Isolated = b.flag(root.get("isolated"), false)
	b.out.Workspace = d.workspace(root.get("workspace"))
}

// module binds a module, or all members of a family, or its placeholder.
func (b *binder) module(d *declaration) {
	e := b.file.vocabulary(d, b.byName).evaluator()
	e.params = b.bound
	dec := &decoder{collector: b.collector, e: e, tree: d.tree, limits: b.file.limits}
	if !d.family() {
		m := dec.module()
		m.Token = d.name
		b.add(d, m, d.name)
		return
	}
	matrix := &matrixReader{collector: b.collector, e: e, tree: d.tree.get("matrix"), family: d.name}
	if reads := matrix.reads(); len(reads) > 0 {
		m := dec.module()
		dec.knownSecrets()
		m.Token, m.Family = d.name, d.name
		m.Dynamic = &Dynamic{Reads: reads, Template: encodeTemplate(b.src.name, b.prefixes[d.name], d.tree)}
		b.add(d, m, d.name)
		return
	}
	combinations, ok := matrix.combinations()
	if !ok || len(b.out.Modules)+len(combinations) > maxModules+1 {
		b.tooMany(d, ok)
		return
	}
	if b.members += len(combinations) * (d.tree.size() - d.tree.get("matrix").size()); b.members > maxMerged {
		b.fault(d.key, "take members out, or what they have in common to another place", "the members of families, up to %s, have more than %d values", d.name, maxMerged)
		return
	}
	for i, pairs := range combinations {
		m := dec.member(d.name, b.prefixes[d.name], i, pairs)
		b.add(d, m, m.Name)
	}
}

func (b *binder) tooMany(d *declaration, known bool) {
	if known {
		b.fault(d.key, "", "the pipeline has more than %d modules", maxModules)
	}
}

// member decodes one member of a family.
func (d *decoder) member(family, prefix string, i int, pairs []Coordinate) *Module {
	one := *d
	one.e = d.e.withMatrix(pairs)
	m := one.module()
	m.Name, m.Family, m.Matrix = memberName(family, pairs), family, pairs
	m.Token = fmt.Sprintf("%s%d", prefix, i)
	return m
}

func (b *binder) add(d *declaration, m *Module, name string) {
	m.Name = name
	var needs []Need
	for _, n := range d.needs {
		needs = append(needs, n.Need)
	}
	m.Needs = b.needs.Shared(needs)
	if d.closed {
		m.Outputs = append([]string{}, d.outputs.words...)
	}
	if m.Command != nil {
		b.out.passEnv(m)
	}
	if m.Family != "" {
		b.out.Families[m.Family] = append(b.out.Families[m.Family], len(b.out.Modules))
	}
	b.out.Modules = append(b.out.Modules, m)
}

func together(a, b []string) []string {
	return sortedSet(slices.Concat(a, b))
}

// checkSame refuses a member that no member of a needed family is the same as.
func (b *binder) checkSame() {
	standing := NewResolver(b.out.Modules, b.out.Families)
	for _, m := range b.out.Modules {
		for i, n := range m.Needs {
			if len(n.Same) == 0 || n.Optional || m.Dynamic != nil || len(b.out.Families[n.Module]) == 0 {
				continue
			}
			if len(standing.Resolve(m, n)) == 0 {
				d := b.byName[m.Family]
				b.faultAt(position{d.needs[i].at.Line, d.needs[i].at.Col}, "exclude it, or make the need optional",
					"%s needs the members of %s with the same %v, and it has none", m.Name, n.Module, n.Same)
			}
		}
	}
}

// index maps names to where the modules are.
func index(modules []*Module) map[string]int {
	m := make(map[string]int, len(modules))
	for i, mod := range modules {
		m[mod.Name] = i
	}
	return m
}
