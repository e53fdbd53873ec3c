package pipeline

// checkExpressions checks, without any value in hand, everything that reads
// values: it decodes every module for its faults only.
func (c *collector) checkExpressions(f *File) {
	byName := f.byName()
	top := &decoder{collector: c, e: f.vocabulary(nil, nil).reporting(c).evaluator(), tree: f.root, limits: f.limits}
	top.env(f.root.get("env"), graph)
	top.duration(f.root, fileShape, "deadline", 0)
	top.workspace(f.root.get("workspace"))
	modules, entries := map[string]*Module{}, map[*Module][]*node{}
	for _, d := range f.modules {
		if c.full() {
			return // nothing more is reported
		}
		if !c.ok(d.key) || d.own.Kind != mapNode {
			continue
		}
		e := f.vocabulary(d, byName).reporting(c).evaluator()
		dec := &decoder{collector: c, e: e, tree: d.tree, limits: f.limits}
		m := dec.module()
		m.Name, m.Family = d.name, ""
		for _, n := range d.needs {
			m.Needs = append(m.Needs, n.Need)
		}
		modules[d.name], entries[m] = m, dec.consumeAt
		if d.own.get("shell") != nil && d.tree.get("command") != nil {
			c.fault(d.own.Keys[d.own.index("shell")], "", "shell is for run; command has none")
		}
		if d.family() {
			(&matrixReader{collector: c, e: e, tree: d.tree.get("matrix"), family: d.name}).check()
		}
		c.checkOwnCache(d)
	}
	c.checkArtifacts(f, modules, entries)
}

// checkOwnCache refuses a cache that the module itself declares without inputs.
func (c *collector) checkOwnCache(d *declaration) {
	own := d.own.get("cache")
	if !c.ok(own) || own.Kind != mapNode || d.tree.get("cache").get("inputs") != nil {
		return
	}
	c.fault(d.own.Keys[d.own.index("cache")], `write inputs: ["**"] for all files of the workspace, inputs: [] for none`, "the cache of %s has no inputs", d.name)
}

// vocabulary is what the expressions of a module may name; of the pipeline's own expressions when d is nil.
func (f *File) vocabulary(d *declaration, byName map[string]*declaration) *vocabulary {
	s := &vocabulary{pipeline: f.name, params: f.types, choices: f.choices, needs: map[string]needKind{}}
	if d == nil {
		return s
	}
	s.module, s.always, s.axes, s.externals = d.name, d.always, d.axes, f.program
	s.modules = f.declarations
	for _, n := range d.needs {
		switch m := byName[n.Module]; {
		case m == nil:
			s.needs[n.Module] = needKind{missing: true}
		case m != d:
			s.needs[n.Module] = needKind{family: m.family(), result: m.result, declared: m.closed, outputs: m.outputs}
		}
	}
	return s
}

// reporting lets a scope share the suggestions of a collector.
func (s *vocabulary) reporting(c *collector) *vocabulary {
	s.suggests = c.suggests
	return s
}
