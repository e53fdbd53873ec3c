package modpipe

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/modpipe/modpipe/pipeline"
)

// Program is a definition that was built: a pipeline, and the functions of its
// modules. cli.Main makes one of a definition; so does modpipetest.
type Program struct {
	name    string
	define  func(*Builder)
	builder *Builder
	graph   string
}

// Name is the program's name.
func (p *Program) Name() string { return p.name }

// Params are the parameters of a run, those of included files too.
func (p *Program) Params() []pipeline.Param {
	var params []pipeline.Param
	for _, own := range p.builder.params {
		params = append(params, own.Param)
	}
	for _, inc := range p.builder.includes {
		for _, f := range inc.file.Params() {
			if !slices.ContainsFunc(params, func(have pipeline.Param) bool { return have.Name == f.Name }) {
				params = append(params, f)
			}
		}
	}
	return params
}

// Pipeline is the graph of a run, bound to its parameters (as text, from
// --param). The error is a pipeline.Faults.
func (p *Program) Pipeline(params map[string]string, lookupEnv func(string) (string, bool)) (*pipeline.Pipeline, error) {
	g, err := p.builder.assemble(params, lookupEnv)
	if err != nil {
		return nil, dress(asFaults(err))
	}
	id, err := p.identity()
	if err != nil {
		return nil, err
	}
	for _, m := range g.Modules {
		if m.Func != nil {
			m.Requires.Program = &id
		}
		if m.Dynamic != nil && m.Dynamic.Member != nil {
			m.Dynamic.Member.Requires.Program = &id
		}
	}
	return g, nil
}

// ResultType is the type of the result of a module, or of each member of a family:
// that of its function, or the outputs of a command (a map[string]string). It is nil
// when neither the definition nor an included file has such a module.
func (p *Program) ResultType(module string) reflect.Type {
	if t := p.definedType(module); t != nil {
		return t
	}
	for _, inc := range p.builder.includes {
		family, _, _ := strings.Cut(module, " (")
		if !slices.Contains(inc.modules, module) && !slices.Contains(inc.modules, family) {
			continue
		}
		if name, ok := inc.file.Uses(module, family); ok {
			return p.builder.functions[name].result
		}
		return reflect.TypeFor[map[string]string]()
	}
	return nil
}

// definedType is ResultType for the modules of the definition.
func (p *Program) definedType(module string) reflect.Type {
	if m := p.builder.byName[module]; m != nil {
		return m.result
	}
	for _, m := range p.builder.modules {
		if family, _, _ := pipeline.SplitMember(m.name); family == module {
			return m.result
		}
	}
	if family, _, ok := strings.Cut(module, " ("); ok {
		if m := p.builder.byName[family]; m != nil && m.each != nil {
			return m.result
		}
	}
	return nil
}

// assemble makes the graph: the definition's modules, and those of files where
// they were included.
func (b *Builder) assemble(params map[string]string, lookupEnv func(string) (string, bool)) (*pipeline.Pipeline, error) {
	if lookupEnv == nil {
		lookupEnv = func(string) (string, bool) { return "", false }
	}
	p := &pipeline.Pipeline{Name: b.Name, FailSlow: b.FailSlow, Deadline: b.Deadline, Limits: b.limitSizes(), ClusterLimits: b.clusterLimits()}
	bound, err := b.bind(params, lookupEnv)
	if err != nil {
		return nil, err
	}
	p.Params = bound
	var places []pipeline.Place
	add := func(at pipeline.Place, m *pipeline.Module) {
		p.Modules = append(p.Modules, m)
		places = append(places, at)
	}
	next := 0
	for _, inc := range b.includes {
		for ; next < inc.after; next++ {
			add(b.modules[next].at.position(), b.modules[next].finished())
		}
		if err := b.bindFile(p, inc, params, lookupEnv, add); err != nil {
			return nil, err
		}
	}
	for ; next < len(b.modules); next++ {
		add(b.modules[next].at.position(), b.modules[next].finished())
	}
	if err := pipeline.Assemble(p, places); err != nil {
		return nil, err
	}
	return p, b.checkWith(p, places)
}

// bindFile adds the modules of an included file.
func (b *Builder) bindFile(p *pipeline.Pipeline, inc *include, params map[string]string, lookupEnv func(string) (string, bool), add func(pipeline.Place, *pipeline.Module)) error {
	given := map[string]string{}
	for _, param := range inc.file.Params() {
		if v, ok := params[param.Name]; ok {
			given[param.Name] = v
		}
	}
	g, err := inc.file.Bind(given, lookupEnv)
	if err != nil {
		return err
	}
	fault := func(text string) error {
		return pipeline.Faults{{File: inc.at.file, Line: inc.at.line, Text: inc.name + ": " + text}}
	}
	switch {
	case g.Deadline != 0:
		return fault("an included file has no deadline: set that of the Builder")
	case g.FailSlow:
		return fault("fail-fast is not for included files: set FailSlow of the Builder")
	}
	p.Warnings = append(p.Warnings, g.Warnings...)
	p.Env = append(p.Env, g.Env...)
	p.PassEnv = append(p.PassEnv, g.PassEnv...)
	maps.Copy(p.Params, g.Params)
	if p.Decimals == nil {
		p.Decimals = map[string]string{}
	}
	maps.Copy(p.Decimals, g.Decimals)
	for name, size := range g.Limits {
		if have, ok := p.Limits[name]; ok && have != size {
			return fault(fmt.Sprintf("limit %q has two sizes: %d here, and %d in the definition", name, size, have))
		}
		if _, ok := p.Limits[name]; ok && slices.Contains(p.ClusterLimits, name) != slices.Contains(g.ClusterLimits, name) {
			return fault(fmt.Sprintf("limit %q has two scopes: the definition gives it another one", name))
		}
		p.Limits[name] = size
	}
	p.ClusterLimits = append(p.ClusterLimits, g.ClusterLimits...)
	slices.Sort(p.ClusterLimits)
	p.ClusterLimits = slices.Compact(p.ClusterLimits)
	for _, m := range g.Modules {
		add(pipeline.Place{File: inc.name, Line: inc.file.Line(m)}, m)
	}
	return nil
}

func (b *Builder) limitSizes() map[string]int {
	sizes := map[string]int{}
	for name, l := range b.limits {
		sizes[name] = l.max
	}
	return sizes
}

// clusterLimits are those that all runs share, sorted.
func (b *Builder) clusterLimits() []string {
	var names []string
	for name, l := range b.limits {
		if l.cluster {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// bind gives the definition's parameters their values, and refuses values for
// parameters that it does not declare.
func (b *Builder) bind(params map[string]string, lookupEnv func(string) (string, bool)) (map[string]any, error) {
	bound := map[string]any{}
	var known []string
	var faults pipeline.Faults
	for _, p := range b.params {
		known = append(known, p.Name)
		v, wrong := p.bind(params, lookupEnv)
		faults = append(faults, wrong...)
		bound[p.Name] = v
	}
	for _, inc := range b.includes {
		for _, p := range inc.file.Params() {
			known = append(known, p.Name)
		}
	}
	declared := make(map[string]bool, len(known))
	for _, name := range known {
		declared[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if !declared[name] && len(faults) < pipeline.MaxFaults {
			hint := ""
			if len(faults) < pipeline.MaxSuggestions {
				hint = pipeline.Suggest(name, known)
			}
			faults = append(faults, pipeline.Fault{Text: fmt.Sprintf("--param: the pipeline has no parameter %q", name), Suggestion: hint})
		}
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return bound, nil
}

// checkWith finds keys in a file's with that the function has no field for.
func (b *Builder) checkWith(p *pipeline.Pipeline, places []pipeline.Place) error {
	var faults pipeline.Faults
	for i, m := range p.Modules {
		if m.Func == nil || !m.Func.Uses {
			continue
		}
		u := b.functions[m.Func.Name]
		if u == nil {
			continue // found when the file was parsed
		}
		for _, v := range m.Func.With {
			if _, ok := fieldOf(u.input, v.Name); !ok {
				faults = append(faults, pipeline.Fault{File: places[i].File, Line: places[i].Line, Text: fmt.Sprintf("%s: with has %q, and go:%s takes no such thing", m.Name, v.Name, m.Func.Name)})
			}
		}
	}
	if len(faults) > 0 {
		return faults
	}
	return nil
}

// finished is the module as the graph has it; a copy, so that nothing that is
// done to a graph comes back to the definition.
func (m *module) finished() *pipeline.Module {
	n := m.node
	n.Requires.Tools, n.Requires.Tags = slices.Clone(n.Requires.Tools), slices.Clone(n.Requires.Tags)
	n.Requires.Labels = slices.Clone(n.Requires.Labels)
	n.Policy.Keys, n.Policy.Limits = slices.Concat(n.Policy.Keys, m.clusterKeys), slices.Clone(n.Policy.Limits)
	n.Policy.ClusterKeys = slices.Clone(m.clusterKeys)
	n.Needs = m.allNeeds()
	n.Func = &pipeline.Func{Name: m.name, Version: m.version}
	m.files(&n)
	if m.exec != nil && m.exec.command != nil {
		n.Command = m.exec.command.node()
		if n.Command.Shell != "" {
			n.Requires.Tools = append(n.Requires.Tools, pipeline.Tool{Name: n.Command.Shell})
		}
		if m.exec.prepare == nil && len(m.conds) == 0 && m.retryIf == nil {
			n.Func = nil // any worker runs it
		}
	}
	if m.each != nil {
		n.Family = m.name
		n.Dynamic = &pipeline.Dynamic{Reads: []string{m.each.list}, Member: &pipeline.Module{}}
	}
	return &n
}
