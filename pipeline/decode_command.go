package pipeline

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// command decodes the executor.
func (d *decoder) command() *Command {
	run, words := d.tree.get("run"), d.tree.get("command")
	shell := d.literal(d.tree.get("shell"))
	c := &Command{Dir: "."}
	switch {
	case run != nil && words != nil:
		d.fault(d.tree.Keys[d.tree.index("command")], "", "a module has run or command, not both")
		return nil
	case run != nil:
		d.checkRun(run, shell)
		c.Run, c.Shell = run.Value, cmp.Or(shell, "sh")
	case words == nil:
		if d.tree.get("uses") == nil {
			d.faultAt(position{d.tree.Line, d.tree.Col}, `add run: "…" or command: […]`, "%s has neither run nor command", d.e.vocab.module)
		}
		return nil
	default:
		for i, w := range words.elements() {
			if i == 0 && d.ok(w) && w.Kind == scalarNode && strings.TrimSpace(w.Value) == "" {
				d.fault(w, "", "the first word of command is empty; it is the program to start")
			}
			c.Args = append(c.Args, d.text(w, "command"))
		}
	}
	if dir := d.value("dir"); dir != "" {
		c.Dir, _ = parseDir(dir) // checked by its shape
	}
	c.Env = d.env(d.tree.get("env"), ready)
	c.PassEnv = d.passEnv(d.tree.get("pass-env"))
	c.Stdin = d.text(d.tree.get("stdin"), "stdin")
	return c
}

// passEnv are the names and patterns of a list of variables.
func (d *decoder) passEnv(list *node) (names []string) {
	for _, n := range list.elements() {
		if n.Kind == mapNode {
			n = n.get("name")
		}
		if w, ok := d.word(n, text("", static), "pass-env"); ok {
			names = append(names, w)
		}
	}
	return names
}

// requiredEnv are the names of those that a worker must have, sorted.
func (d *decoder) requiredEnv(list *node) (names []string) {
	for _, n := range list.elements() {
		if n.Kind == mapNode && d.flag(n.get("required"), false) {
			if name := d.literal(n.get("name")); name != "" {
				names = append(names, name)
			}
		}
	}
	return sortedSet(names)
}

// passEnv adds the variables of the whole pipeline to those of a command.
func (p *Pipeline) passEnv(m *Module) {
	m.Command.PassEnv = together(p.PassEnv, m.Command.PassEnv)
	m.Requires.Env = together(p.RequiredEnv, m.Requires.Env)
}

// text is a text that may read needs.
func (d *decoder) text(n *node, field string) Text {
	if !d.ok(n) || n.Kind != scalarNode && n.Value != "~" {
		return nil
	}
	return d.textNode(n, d.e, field, ready)
}

func (d *decoder) env(n *node, r reach) []Var {
	if n == nil || n.Kind != mapNode {
		return nil
	}
	var vars []Var
	for i, k := range n.Keys {
		v := n.Items[i]
		if d.ok(k) && d.ok(v) && (v.Kind == scalarNode || v.Value == "~") {
			vars = append(vars, Var{Name: k.Value, Value: d.textNode(v, d.e, "env", r)})
		}
	}
	return vars
}

// checkRun refuses expressions in text for a shell, and says what to write instead.
func (d *decoder) checkRun(n *node, shell string) {
	if !d.ok(n) || n.Kind != scalarNode {
		return
	}
	if strings.TrimSpace(n.Value) == "" {
		d.fault(n, "", "run is empty")
		return
	}
	parts, unclosed := segments(n.Value)
	if unclosed >= 0 {
		d.bad[n] = true
		d.faultAt(d.src.expression(n, unclosed, 0, ""), "", "${{ has no }}, and expressions are not allowed in run")
		return
	}
	for _, p := range parts {
		if !p.isExpr {
			continue
		}
		name := variableFor(p.expr)
		src := strings.ReplaceAll(strings.TrimSpace(p.expr), `"`, "'")
		d.bad[n] = true
		d.faultAt(d.src.expression(n, p.index, 0, ""),
			fmt.Sprintf(`write env: {%s: "${{ %s }}"} and in run %s`, name, src, reference(shell, name)),
			"expressions are not allowed in run: the shell would read their values as code")
	}
}

var lastWord = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_-]*`)

// variableFor makes the name of an environment variable for an expression.
func variableFor(src string) string {
	words := lastWord.FindAllString(strings.SplitN(src, "??", 2)[0], -1)
	if len(words) == 0 {
		return "VALUE"
	}
	name := strings.ToUpper(strings.ReplaceAll(words[len(words)-1], "-", "_"))
	if notOurs(name) != nil {
		return "VALUE"
	}
	return name
}

func reference(shell, name string) string {
	switch shell {
	case "pwsh":
		return "$env:" + name
	case "python":
		return "os.environ[" + `"` + name + `"]`
	}
	return `"$` + name + `"`
}

// requirements decodes requires: in lower case and sorted, so that equal ones are the same.
func (d *decoder) requirements() Requirements {
	n := d.tree.get("requires")
	var r Requirements
	if n == nil || n.Kind != mapNode {
		return r
	}
	get := func(key string) string {
		f, _ := requiresShape.field(key)
		w, _ := d.word(n.get(key), f.shape, key)
		return strings.ToLower(w)
	}
	list := func(key string) []string {
		f, _ := requiresShape.field(key)
		return d.words(n.get(key), f.shape.elem, key)
	}
	r.OS, r.Arch = get("os"), get("arch")
	r.CPUs = d.integer(n, "cpus", 0)
	if m, ok := d.word(n.get("memory"), requiresMemory, "memory"); ok {
		r.Memory, _ = parseMemory(m) // checked by its shape
	}
	var tools []Tool
	for _, s := range list("tools") {
		if tool, err := parseTool(s); err == nil {
			tools = append(tools, tool)
		}
	}
	r.Tools = addTools(nil, tools...)
	for _, tag := range list("tags") {
		r.Tags = append(r.Tags, strings.ToLower(tag))
	}
	r.Tags = sortedSet(r.Tags)
	r.Labels = d.labels(n.get("labels"))
	if err := r.fit(); err != nil {
		d.fault(n, "", "requires: %v", err)
	}
	return r
}

var requiresMemory = func() *shape { f, _ := requiresShape.field("memory"); return f.shape }()

func (d *decoder) labels(n *node) []KeyValue {
	if n == nil || n.Kind != mapNode {
		return nil
	}
	f, _ := requiresShape.field("labels")
	var labels []KeyValue
	seen := map[string]bool{}
	for i, k := range n.Keys {
		w, ok := d.word(n.Items[i], f.shape.elem, "label "+k.Value)
		if !ok {
			continue
		}
		axis := strings.ToLower(k.Value)
		if seen[axis] {
			d.fault(k, "", "label %q is repeated", k.Value)
			continue
		}
		seen[axis] = true
		labels = append(labels, KeyValue{axis, strings.ToLower(w)})
	}
	slices.SortFunc(labels, func(a, b KeyValue) int { return strings.Compare(a.Key, b.Key) })
	return labels
}

// addTools adds tools; of two of one name the newer version is asked for.
func addTools(tools []Tool, more ...Tool) []Tool {
	tools = append(tools, more...)
	slices.SortFunc(tools, func(a, b Tool) int {
		switch {
		case a.Name != b.Name:
			return strings.Compare(a.Name, b.Name)
		case newerVersion(a.Min, b.Min):
			return -1
		case newerVersion(b.Min, a.Min):
			return 1
		}
		return 0
	})
	return slices.CompactFunc(tools, func(a, b Tool) bool { return a.Name == b.Name })
}
