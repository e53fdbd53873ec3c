package pipeline

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
)

// workspace decodes which files a run takes along; nil is the default.
func (d *decoder) workspace(n *node) *Workspace {
	if !d.ok(n) {
		return nil
	}
	if n.Kind == scalarNode {
		if d.flag(n, true) {
			return nil
		}
		return &Workspace{None: true}
	}
	w := &Workspace{Include: d.globs(n.get("include"), static), Exclude: d.globs(n.get("exclude"), static)}
	if git := n.get("git"); d.ok(git) && git.Kind == scalarNode {
		switch strings.ToLower(git.Value) {
		case "true":
			w.Git = LastCommit
		case "full":
			w.Git = FullHistory
		}
	}
	for _, also := range n.get("also").elements() {
		dir, at := also.get("dir"), also.get("at")
		if !d.ok(dir) || !d.ok(at) || dir.Kind != scalarNode || at.Kind != scalarNode {
			continue
		}
		one := Directory{Dir: path.Clean(dir.Value), At: path.Clean(at.Value)}
		for _, other := range w.Also {
			if inside(one.At, other.At) || inside(other.At, one.At) {
				d.fault(at, "", "at: %s and %s are the same directory, or one is inside the other", other.At, one.At)
			}
		}
		w.Also = append(w.Also, one)
	}
	return w
}

// inside reports whether a clean path is another one or below it.
func inside(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// files decodes what the module takes and leaves beside its outputs.
func (d *decoder) files(m *Module) {
	artifacts := d.tree.get("artifacts")
	d.produce(m, artifacts.get("produce"))
	d.consume(m, artifacts.get("consume"))
	d.cache(m)
	d.cacheDirs(m)
}

// late reads a text that may read needs. What is not known yet is kept in
// m.Late under place, and the text is returned as it is written.
func (d *decoder) late(m *Module, n *node, s *shape, field string) (string, bool) {
	if !d.ok(n) || n.Kind != scalarNode {
		return "", false
	}
	if !hasExpression(n.Value) {
		return n.Value, true
	}
	t := d.textNode(n, d.e, field, ready)
	if !d.ok(n) {
		return "", false
	}
	text, known := t.plain()
	if !known {
		m.Late = append(m.Late, Late{field, t})
		return t.String(), true
	}
	if msg, hint := s.refuse(text); msg != "" {
		d.fault(n, hint, "%s: %s", field, msg)
		return "", false
	}
	return text, true
}

// globs are the globs of a list that reads no needs.
func (d *decoder) globs(list *node, r reach) []string {
	if list == nil || !d.ok(list) {
		return nil
	}
	globs := []string{}
	for _, w := range d.words(list, patterned("", r, globPattern, validGlob), "a glob") {
		glob, _ := parseGlob(w) // checked by its shape
		globs = append(globs, glob)
	}
	return globs
}

func (d *decoder) produce(m *Module, n *node) {
	if !d.ok(n) {
		return
	}
	spelled := map[string]bool{}
	add := func(at, globs *node, optional bool, when When) {
		i := len(m.Produce)
		name, ok := d.late(m, at, artifactName(""), fmt.Sprintf("produce[%d].name", i))
		if !ok {
			return
		}
		if folded := strings.ToLower(name); spelled[folded] {
			d.fault(at, "an artifact may have several globs: [a, b]", "%s produces %q twice", d.e.vocab.module, name)
		} else {
			spelled[folded] = true
		}
		m.Produce = append(m.Produce, Produce{Name: name, Paths: d.artifactGlobs(m, globs, i), Optional: optional, When: when})
	}
	if n.Kind == mapNode {
		if d.ok(n.get("name")) && d.ok(n.get("path")) {
			d.fault(n, "write a list: produce: [{name: NAME, path: GLOBS}]", "this map produces two artifacts, which are called \"name\" and \"path\"")
			return
		}
		for i, k := range n.Keys {
			add(k, n.Items[i], false, OnSuccess)
		}
		return
	}
	for _, item := range n.elements() {
		if item.Kind == mapNode {
			add(item.get("name"), item.get("path"), d.flag(item.get("optional"), false), whens[d.literal(item.get("when"))])
		}
	}
}

var whens = map[string]When{"": OnSuccess, "success": OnSuccess, "failure": OnFailure, "always": Always}

// artifactGlobs are the globs of the artifact with this number.
func (d *decoder) artifactGlobs(m *Module, list *node, number int) []string {
	if !d.ok(list) {
		return nil
	}
	s := patterned("", ready, globPattern, validArtifactGlob)
	var globs []string
	takes := false
	for _, n := range list.elements() {
		text, ok := d.late(m, n, s, fmt.Sprintf("produce[%d].path[%d]", number, len(globs)))
		if !ok {
			return nil
		}
		if clean, err := parseArtifactGlob(text); err == nil {
			text = clean
		}
		takes = takes || !strings.HasPrefix(text, "!")
		globs = append(globs, text)
	}
	if !takes && len(globs) > 0 {
		d.fault(list, `add what it takes, such as "**"`, "the globs of an artifact only exclude")
	}
	return globs
}

func (d *decoder) consume(m *Module, list *node) {
	d.consumeAt = nil
	for _, n := range list.elements() {
		at := n
		if n.Kind == mapNode {
			at = n.get("name")
		}
		i := len(m.Consume)
		s := patterned("", ready, artifactsPattern, validArtifacts)
		name, ok := d.late(m, at, s, fmt.Sprintf("consume[%d].name", i))
		if !ok {
			continue
		}
		c := Consume{Name: name}
		if n.Kind == mapNode {
			d.consumeTerms(m, n, &c, i)
		}
		m.Consume, d.consumeAt = append(m.Consume, c), append(d.consumeAt, n)
	}
}

// consumeTerms decodes what stands beside the name of a consumed artifact.
func (d *decoder) consumeTerms(m *Module, n *node, c *Consume, number int) {
	c.From = d.literal(n.get("from"))
	c.Merge = d.flag(n.get("merge"), false)
	for _, axis := range n.get("same").elements() {
		if d.ok(axis) && axis.Kind == scalarNode {
			c.Same = append(c.Same, axis.Value)
		}
	}
	destination := &shape{form: textForm, reach: ready, valid: validDestination}
	if to, ok := d.late(m, n.get("to"), destination, fmt.Sprintf("consume[%d].to", number)); ok {
		if clean, err := parseDestination(to); err == nil {
			to = clean
		}
		c.To = to
	}
	if n.get("from-run") == nil {
		for _, key := range []string{"pipeline", "label"} {
			if n.get(key) != nil {
				d.fault(n.Keys[n.index(key)], "add from-run: latest to take the artifact from another run", "%s is for from-run", key)
			}
		}
		return
	}
	for _, key := range []string{"from", "same"} {
		if n.get(key) != nil {
			d.fault(n.Keys[n.index(key)], "leave out one of them", "%s names needs of this run, and from-run takes the artifact from another run", key)
		}
	}
	f, _ := consumeTermsShape.field("pipeline")
	pipeline, _ := d.word(n.get("pipeline"), f.shape, "pipeline")
	c.FromRun = &FromRun{Pipeline: cmp.Or(pipeline, d.e.vocab.pipeline), Labels: d.runLabels(n.get("label"))}
}

var consumeTermsShape = consumeShape.elem.choice[1]

// runLabels are the labels of an earlier run, which are not those of workers: case counts.
func (d *decoder) runLabels(n *node) []KeyValue {
	if n == nil || n.Kind != mapNode {
		return nil
	}
	var labels []KeyValue
	for i, k := range n.Keys {
		if v, ok := d.word(n.Items[i], text("", graph), "label "+k.Value); ok {
			labels = append(labels, KeyValue{k.Value, v})
		}
	}
	slices.SortFunc(labels, func(a, b KeyValue) int { return strings.Compare(a.Key, b.Key) })
	return labels
}

// cache decodes what a cached module depends on. It is cached when it has
// inputs: defaults may say the rest for those that are.
func (d *decoder) cache(m *Module) {
	n := d.tree.get("cache")
	inputs := n.get("inputs")
	if !d.ok(n) || inputs == nil {
		return
	}
	c := &Cache{Inputs: d.globs(inputs, graph), Portable: d.flag(n.get("portable"), false)}
	for _, k := range n.get("key").elements() {
		c.Key = append(c.Key, d.text(k, "cache key"))
	}
	requires := d.tree.get("requires")
	if !c.Portable && (requires.get("os") == nil || requires.get("arch") == nil) {
		at := d.tree.Keys[d.tree.index("cache")]
		d.fault(at, `write requires: {os: linux, arch: amd64}, or in cache portable: true if the result is the same everywhere; defaults may have either`,
			"%s is cached, and nothing says for which os and arch", d.e.vocab.module)
	}
	if d.flag(d.tree.get("always-run"), false) {
		d.fault(d.tree.Keys[d.tree.index("cache")], "write cache: null if the defaults have it", "%s is always-run: a cached result would take the place of what it has to do each time", d.e.vocab.module)
	}
	m.Cache = c
}

func (d *decoder) cacheDirs(m *Module) {
	dirs := d.tree.get("cache-dirs")
	if !d.ok(dirs) || dirs.Kind != mapNode {
		return
	}
	for i, k := range dirs.Keys {
		n := dirs.Items[i]
		if !d.ok(k) || !d.ok(n) || n.Kind != mapNode {
			continue
		}
		c := CacheDir{
			Name: k.Value, Env: d.literal(n.get("env")),
			ReadOnly: !d.flag(n.get("save"), true), FailOnMiss: d.flag(n.get("fail-on-miss"), false),
		}
		f, _ := cacheDirShape.field("path")
		if p, ok := d.word(n.get("path"), f.shape, "path"); ok {
			c.Path = path.Clean(p)
		}
		d.cacheDirKeys(m, n, &c)
		d.cacheDirPlace(m, k, n, &c)
		m.CacheDirs = append(m.CacheDirs, c)
	}
}

func (d *decoder) cacheDirKeys(m *Module, n *node, c *CacheDir) {
	key := n.get("key")
	if v, ok := d.late(m, key, text("", ready), "cache-dirs."+c.Name+".key"); ok {
		if c.Key = v; strings.TrimSpace(v) == "" {
			d.fault(key, "", "key is empty")
		}
	}
	for _, r := range n.get("restore").elements() {
		v, ok := d.late(m, r, text("", ready), fmt.Sprintf("cache-dirs.%s.restore[%d]", c.Name, len(c.Restore)))
		if !ok {
			continue
		}
		if strings.TrimSpace(v) == "" {
			d.fault(r, "", "a beginning of a key is empty: every key begins with it")
		}
		c.Restore = append(c.Restore, v)
	}
}

// cacheDirPlace checks that a directory has one place of its own.
func (d *decoder) cacheDirPlace(m *Module, k, n *node, c *CacheDir) {
	hasPath, hasEnv := n.get("path") != nil, n.get("env") != nil
	switch {
	case hasPath && hasEnv:
		d.fault(n.Keys[n.index("env")], "", "%s has path and env: it is at one of them", k.Value)
	case !hasPath && !hasEnv:
		d.fault(k, "write path: node_modules, or env: GOMODCACHE for a variable that holds its path", "%s has neither path nor env", k.Value)
	}
	if env := d.tree.get("env"); hasEnv && env != nil && env.index(c.Env) >= 0 {
		d.fault(n.get("env"), "", "%s is set in env too", c.Env)
	}
	for _, other := range m.CacheDirs {
		switch {
		case c.Env != "" && c.Env == other.Env:
			d.fault(n.get("env"), "", "%s and %s have the same variable", other.Name, c.Name)
		case c.Path != "" && other.Path != "" && (inside(c.Path, other.Path) || inside(other.Path, c.Path)):
			d.fault(n.get("path"), "", "%s and %s are at the same place, or one is inside the other", other.Name, c.Name)
		}
	}
}
