package pipeline

import (
	"bytes"
	"slices"
	"strings"
)

// File is a parsed pipeline file without faults, not yet bound to parameters.
type File struct {
	src          *fileText
	name         string
	root         *node // with the defaults merged into the modules
	params       []Param
	paramAt      []*node
	limits       map[string]int
	cluster      []string // those of limits that all runs share
	modules      []*declaration
	names        []string                // of the modules
	declarations map[string]*declaration // by these names
	types        map[string]string       // of the parameters, by name
	choices      map[string][]string     // options of those that are choices, by name
	warnings     Faults
	program      *Externals // nil without one
}

// declaration is a module, or a family, as it is written.
type declaration struct {
	name    string
	key     *node // its name in the file
	own     *node // its own value
	tree    *node // with the defaults
	needs   []declaredNeed
	axes    axes // which members may have, include's too
	always  bool
	outputs wordSet
	closed  bool // outputs are all that it may set
	result  bool // a Go function, which has a result instead
}

type declaredNeed struct {
	Need
	at     *node // the name
	sameAt []*node
}

func (d *declaration) family() bool { return d.axes.names != nil }

// Name is the pipeline's name.
func (f *File) Name() string { return f.name }

// Params are the declared parameters in the order of the file.
func (f *File) Params() []Param {
	params := slices.Clone(f.params)
	for i := range params {
		params[i].Options = slices.Clone(params[i].Options)
	}
	return params
}

// Warnings are what is probably a mistake and keeps nothing from running, in
// the order of the file.
func (f *File) Warnings() Faults { return slices.Clone(f.warnings) }

// byteOrderMark begins what some editors write; it counts for no column.
var byteOrderMark = []byte("\uFEFF")

// Parse reads a pipeline file. name is used in messages. The error is a Faults with every fault found.
func Parse(name string, src []byte) (*File, error) { return parse(name, src, nil) }

func parse(name string, src []byte, x *Externals) (*File, error) {
	src = bytes.TrimPrefix(src, byteOrderMark)
	c := newCollector(newFileText(name, src))
	root := readTree(c, src)
	if root == nil {
		return nil, c.err()
	}
	written := root.get("modules")
	root = c.withDefaults(root)
	c.check(root, fileShape, "the file")
	if root.Kind != mapNode {
		return nil, c.err()
	}
	f := &File{src: c.src, root: root, limits: map[string]int{}, declarations: map[string]*declaration{}, types: map[string]string{}, choices: map[string][]string{}, program: x}
	if n := root.get("name"); c.ok(n) {
		f.name = n.Value
	}
	c.decodeParams(f)
	c.declareModules(f, written)
	c.declareLimits(f)
	c.checkKeys(f)
	c.checkNeeds(f)
	c.checkExpressions(f)
	if err := c.err(); err != nil {
		return nil, err
	}
	c.doubtLiterals(root)
	f.warnings = c.warnings.sorted()
	return f, nil
}

// declareModules reads what the graph hangs on: names, needs, matrices.
// written are the modules without the defaults.
func (c *collector) declareModules(f *File, written *node) {
	modules := f.root.get("modules")
	if modules == nil || modules.Kind != mapNode {
		return
	}
	spelled := map[string]*node{}
	for i, k := range modules.Keys {
		folded := strings.ToLower(k.Value)
		if first := spelled[folded]; first != nil {
			c.fault(k, "", "module %q differs only in case from %q in line %d", k.Value, first.Value, first.Line)
			continue
		}
		spelled[folded] = k
		d := &declaration{name: k.Value, key: k, tree: modules.Items[i], own: written.Items[i]}
		if d.tree.Kind != mapNode {
			d.tree = &node{Kind: mapNode, Line: k.Line, Col: k.Col}
		}
		d.result = d.tree.get("uses") != nil
		d.always = c.flag(d.tree.get("always-run"), false)
		for _, n := range d.tree.get("outputs").elements() {
			d.closed = true
			d.outputs.add(n.Value)
		}
		d.closed = d.closed || d.tree.get("outputs") != nil
		d.axes = declareAxes(d.tree.get("matrix"))
		for _, n := range d.tree.get("needs").elements() {
			if need, ok := c.declareNeed(n); ok {
				d.needs = append(d.needs, need)
			}
		}
		f.modules, f.names = append(f.modules, d), append(f.names, d.name)
		f.declarations[d.name] = d
	}
}

func (c *collector) declareNeed(n *node) (declaredNeed, bool) {
	if n.Kind == scalarNode {
		return declaredNeed{Need: Need{Module: n.Value}, at: n}, c.ok(n)
	}
	at := n.get("module")
	if !c.ok(at) || at.Kind != scalarNode {
		return declaredNeed{}, false
	}
	need := declaredNeed{Need: Need{Module: at.Value, Optional: c.flag(n.get("optional"), false)}, at: at}
	for _, axis := range n.get("same").elements() {
		if c.ok(axis) && axis.Kind == scalarNode {
			need.Same, need.sameAt = append(need.Same, axis.Value), append(need.sameAt, axis)
		}
	}
	return need, true
}

func (c *collector) flag(n *node, otherwise bool) bool {
	if !c.ok(n) || n.Kind != scalarNode {
		return otherwise
	}
	return strings.EqualFold(n.Value, "true")
}

// declareLimits gathers the sizes and scopes of all limits, those written at modules too.
func (c *collector) declareLimits(f *File) {
	first, shared := map[string]*node{}, map[string]bool{}
	declare := func(name string, at, limit *node) {
		size := limit.get("max")
		if !c.ok(size) || size.Kind != scalarNode {
			return
		}
		most, before := number(size), first[name]
		switch {
		case before == nil:
			first[name], f.limits[name] = at, most
			if ofCluster(limit) {
				shared[name] = true
				f.cluster = append(f.cluster, name)
				c.clusterLimit(name, most, size)
			}
		case f.limits[name] != most:
			c.fault(at, "give it one size, in limits", "limit %q has two sizes: %d here, %d in line %d", name, most, f.limits[name], before.Line)
		case shared[name] != ofCluster(limit):
			c.fault(at, "give it one scope, in limits", "limit %q has two scopes: %s here, another in line %d", name, rangeOfKey(limit), before.Line)
		}
	}
	if limits := f.root.get("limits"); limits != nil {
		for i, k := range limits.Keys {
			declare(k.Value, k, limits.Items[i])
		}
	}
	for _, d := range f.modules {
		for _, use := range d.tree.get("limit").elements() {
			if name := use.get("name"); c.ok(name) {
				declare(name.Value, name, use)
			}
		}
	}
	slices.Sort(f.cluster)
}

func (c *collector) clusterLimit(name string, most int, at *node) {
	if most > maxClusterLimit {
		c.fault(at, "", "limit %q of the cluster must be at most %d, not %d", name, maxClusterLimit, most)
	}
}

// checkKeys refuses a key that is the run's at one place and the cluster's at
// another: the two would not keep modules of different runs apart.
func (c *collector) checkKeys(f *File) {
	first := map[string]*node{}
	for _, d := range f.modules {
		for _, item := range d.tree.get("not-in-parallel").elements() {
			at := keyNode(item)
			if !c.ok(at) || at.Kind != scalarNode || hasExpression(at.Value) {
				continue
			}
			before, ok := first[at.Value]
			if !ok {
				first[at.Value] = item
				continue
			}
			if ofCluster(before) != ofCluster(item) {
				c.fault(at, "give it the same scope everywhere", "key %q has two scopes: %s here, %s in line %d", at.Value, rangeOfKey(item), rangeOfKey(before), before.Line)
			}
		}
	}
}

// rangeOfKey is the range of a key or a limit, as messages name it.
func rangeOfKey(n *node) string {
	if ofCluster(n) {
		return "cluster"
	}
	return "run"
}
