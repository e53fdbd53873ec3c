package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// exprFault is a mistake in an expression, at a character of it.
type exprFault struct {
	offset           int
	text, suggestion string
}

// reads is what an expression needs to know.
type reads struct {
	params, matrix bool
	status         bool            // success(), failure() or cancelled()
	files          bool            // hashFiles()
	needs          map[string]bool // direct needs; true when outputs are read, not only how it ended
	unguarded      map[string]bool // direct needs of which an output or a result is read without a default
}

// must notes that a result of a need has to be there.
func (r *reads) must(name string) {
	if r.unguarded == nil {
		r.unguarded = map[string]bool{}
	}
	r.unguarded[name] = true
}

func (r *reads) need(name string, outputs bool) {
	if r.needs == nil {
		r.needs = map[string]bool{}
	}
	r.needs[name] = r.needs[name] || outputs
}

// walker goes through a parsed expression: it finds names that do not exist,
// because a missing key is a zero value to expr-lang, notes what is read, and
// replaces what reads outputs by calls that know when one was not set.
type walker struct {
	vocab   *vocabulary
	faults  []exprFault
	doubts  []exprFault // what is probably a mistake
	reads   reads
	vars    []string
	members []bool // for each enclosing predicate: # is a member of a family
	guarded map[*ast.MemberNode]bool
}

// hint makes a suggestion, as long as some are left.
func (w *walker) hint(suggest func() string) string {
	if w.vocab.lenient || w.vocab.suggests != nil && !w.vocab.suggests() {
		return ""
	}
	return suggest()
}

func (w *walker) knownOr(word string, known []string, what string) string {
	return w.hint(func() string { return knownOr(word, known, what) })
}

func (w *walker) fault(n ast.Node, suggestion, format string, args ...any) {
	if !w.vocab.lenient {
		w.faults = append(w.faults, exprFault{n.Location().From, fmt.Sprintf(format, args...), suggestion})
	}
}

func (w *walker) doubt(n ast.Node, suggestion, format string, args ...any) {
	if !w.vocab.lenient {
		w.doubts = append(w.doubts, exprFault{n.Location().From, fmt.Sprintf(format, args...), suggestion})
	}
}

// walk visits a node. guarded: a ?? around the node replaces a missing value.
func (w *walker) walk(node *ast.Node, guarded bool) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		w.identifier(n)
	case *ast.MemberNode:
		w.member(node, n, guarded)
	case *ast.BinaryNode:
		w.compare(n)
		w.walk(&n.Left, guarded || n.Operator == "??")
		w.walk(&n.Right, guarded && n.Operator == "??")
		emptyAxis(n)
	case *ast.UnaryNode:
		w.walk(&n.Node, false)
	case *ast.ChainNode:
		w.walk(&n.Node, guarded)
	case *ast.ConditionalNode:
		w.walk(&n.Cond, false)
		w.walk(&n.Exp1, guarded)
		w.walk(&n.Exp2, guarded)
	case *ast.CallNode:
		w.call(node, n)
	case *ast.BuiltinNode:
		w.builtin(n)
	case *ast.PredicateNode:
		w.walk(&n.Node, false)
	case *ast.VariableDeclaratorNode:
		w.walk(&n.Value, false)
		w.vars = append(w.vars, n.Name)
		w.walk(&n.Expr, guarded)
	default:
		w.others(*node)
	}
}

func (w *walker) others(node ast.Node) {
	switch n := node.(type) {
	case *ast.SliceNode:
		w.walk(&n.Node, false)
		if n.From != nil {
			w.walk(&n.From, false)
		}
		if n.To != nil {
			w.walk(&n.To, false)
		}
	case *ast.SequenceNode:
		w.all(n.Nodes)
	case *ast.ArrayNode:
		w.all(n.Nodes)
	case *ast.MapNode:
		w.all(n.Pairs)
	case *ast.PairNode:
		w.walk(&n.Key, false)
		w.walk(&n.Value, false)
	}
}

func (w *walker) all(nodes []ast.Node) {
	for i := range nodes {
		w.walk(&nodes[i], false)
	}
}

// foreign are contexts of GitHub that have another name here, or none.
var foreign = map[string]string{
	"inputs": "parameters are params.NAME", "steps": "results are needs.NAME.outputs.KEY", "jobs": "results are needs.NAME.outputs.KEY",
	"env": "write $NAME in run; expressions do not read the environment", "github": "pass it as a parameter: params.NAME",
	"secrets": "write secrets: [NAME] in the module: its variable NAME holds the value", "vars": "pass it as a parameter: params.NAME",
}

func (w *walker) identifier(n *ast.IdentifierNode) {
	switch {
	case slices.Contains(w.vars, n.Value):
	case n.Value == "params" || n.Value == "matrix" || n.Value == "needs":
		w.fault(n, "name one of them, or show all with toJSON("+n.Value+")", "%s is not a value", n.Value)
	case foreign[n.Value] != "":
		w.fault(n, foreign[n.Value], "unknown name %q", n.Value)
	default:
		w.fault(n, w.knownOr(n.Value, []string{"params", "matrix", "needs"}, "known"), "unknown name %q", n.Value)
	}
}

// chain takes a.b["c"] apart: the root's name and the properties.
func chain(n ast.Node) (root *ast.IdentifierNode, props []ast.Node) {
	for {
		switch m := n.(type) {
		case *ast.IdentifierNode:
			slices.Reverse(props)
			return m, props
		case *ast.ChainNode:
			n = m.Node
		case *ast.MemberNode:
			props = append(props, m.Property)
			n = m.Node
		default:
			return nil, nil
		}
	}
}

func (w *walker) member(node *ast.Node, n *ast.MemberNode, guarded bool) {
	w.guard(n, guarded)
	if p, ok := n.Property.(*ast.StringNode); ok {
		p.Value = restoreHyphens(p.Value)
	}
	root, props := chain(n)
	if root != nil && !slices.Contains(w.vars, root.Value) {
		for _, p := range props {
			if s, ok := p.(*ast.StringNode); ok {
				s.Value = restoreHyphens(s.Value)
			}
		}
		switch {
		case root.Value == "params" && len(props) == 1:
			w.reads.params = true
			is := func(name string) bool { return w.vocab.params[name] != "" }
			w.named(props[0], is, func() []string { return sortedKeys(w.vocab.params) }, "parameter", "params")
			return
		case root.Value == "matrix" && len(props) == 1:
			w.axis(n, props[0])
			return
		case root.Value == "needs" && len(props) <= 3:
			w.need(node, n, props, guarded)
			return
		}
	}
	if owner, key, ok := w.memberOutput(n); ok {
		w.walk(&owner, guarded)
		w.walk(&key, false)
		w.replace(node, outputOfMember, guarded, owner, key)
		return
	}
	w.walk(&n.Node, guarded)
	w.walk(&n.Property, false)
}

// guard notes that a field which is missing is nil.
func (w *walker) guard(n *ast.MemberNode, guarded bool) {
	if !guarded {
		return
	}
	if w.guarded == nil {
		w.guarded = map[*ast.MemberNode]bool{}
	}
	w.guarded[n] = true
}

// named checks that a property is one of the known names.
func (w *walker) named(p ast.Node, is func(string) bool, known func() []string, what, root string) {
	s, ok := p.(*ast.StringNode)
	if !ok {
		w.fault(p, "", "%s is followed by a name, not by an expression", root)
		return
	}
	if w.vocab.lenient || is(s.Value) {
		return
	}
	hint := ""
	if head, _, cut := strings.Cut(s.Value, "-"); cut && is(head) {
		hint = "write spaces around - to subtract"
	} else {
		hint = w.hint(func() string { return knownOr(s.Value, known(), "known") })
	}
	w.fault(p, hint, "unknown %s %q", what, s.Value)
}

// emptyAxis makes a missing axis equal to the empty text, as it is in the
// environment of a shell.
func emptyAxis(n *ast.BinaryNode) {
	if n.Operator != "==" && n.Operator != "!=" {
		return
	}
	sides := [2]*ast.Node{&n.Left, &n.Right}
	for i, side := range sides {
		s, literal := (*sides[1-i]).(*ast.StringNode)
		root, props := chain(*side)
		if literal && s.Value == "" && root != nil && root.Value == "matrix" && len(props) == 1 {
			ast.Patch(side, &ast.BinaryNode{Operator: "??", Left: *side, Right: &ast.StringNode{}})
		}
	}
}

func (w *walker) axis(n ast.Node, p ast.Node) {
	w.reads.matrix = true
	switch {
	case w.vocab.noMatrix != "":
		w.fault(n, "", "%s", w.vocab.noMatrix)
	case w.vocab.axes.names == nil:
		w.fault(n, "", "%s has no matrix", w.vocab.module)
	default:
		w.named(p, w.vocab.axes.has, func() []string { return w.vocab.axes.names }, "axis", "matrix")
	}
}

// need handles needs.X, needs.X.FIELD and needs.X.outputs.KEY.
func (w *walker) need(node *ast.Node, n *ast.MemberNode, props []ast.Node, guarded bool) {
	if w.vocab.reach < ready {
		w.fault(n, "needs are known in env, command, stdin, if, axes, names and paths of artifacts, and keys of the cache", "needs may not be read in %s", w.vocab.field)
		return
	}
	name, ok := props[0].(*ast.StringNode)
	if !ok {
		w.fault(props[0], "", "needs is followed by a name, not by an expression")
		return
	}
	kind, known := w.vocab.needs[name.Value]
	if !known && !w.vocab.lenient {
		w.noNeed(name)
		return
	}
	if len(props) == 1 {
		w.reads.need(name.Value, true)
		w.fault(n, fmt.Sprintf("write needs.%s.status, .outputs.KEY, or toJSON(needs.%s)", name.Value, name.Value), "needs.%s is not a value", name.Value)
		return
	}
	field, ok := props[1].(*ast.StringNode)
	if !ok {
		w.fault(props[1], "", "needs.%s is followed by a name, not by an expression", name.Value)
		return
	}
	w.reads.need(name.Value, field.Value == "outputs" || field.Value == "members" || field.Value == "result")
	if !guarded && (field.Value == "outputs" || field.Value == "result") {
		w.reads.must(name.Value)
	}
	if !w.needField(name, field, kind) {
		return
	}
	switch {
	case field.Value == "outputs" && len(props) == 2:
		w.fault(n, fmt.Sprintf("name one, or show all with toJSON(needs.%s.outputs)", name.Value), "needs.%s.outputs is not a value", name.Value)
	case field.Value == "outputs":
		w.declaredOutput(name, props[2], kind)
		w.walk(&n.Property, false)
		w.replace(node, outputOfNeed, guarded, &ast.IdentifierNode{Value: hidden}, &ast.StringNode{Value: name.Value}, n.Property)
	case len(props) == 3:
		w.walk(&n.Property, false)
	}
}

func (w *walker) noNeed(name *ast.StringNode) {
	of := w.vocab.module
	if w.vocab.modules[name.Value] != nil {
		w.fault(name, fmt.Sprintf("add %s to the needs of %s", name.Value, of), "%q is not a direct need of %s", name.Value, of)
		return
	}
	hint := w.hint(func() string { return knownOr(name.Value, w.vocab.needNames(), "its needs") })
	w.fault(name, hint, "%s has no need %q", of, name.Value)
}

// needField checks what follows needs.X.
func (w *walker) needField(name, field *ast.StringNode, kind needKind) bool {
	known := []string{"status", "outputs", "reason"}
	if kind.result {
		known = []string{"status", "result", "reason"}
	}
	if kind.family {
		known = []string{"status", "members", "reason"}
	}
	if w.vocab.lenient || kind.missing || slices.Contains(known, field.Value) {
		return true
	}
	switch {
	case field.Value == "outputs" && kind.result && !kind.family:
		w.fault(field, fmt.Sprintf("a Go function returns a result: needs.%s.result", name.Value), "%s is a Go function and has no outputs", name.Value)
	case field.Value == "outputs":
		w.fault(field, fmt.Sprintf("each of needs.%s.members has outputs", name.Value), "%s is a family and has no outputs itself", name.Value)
	case field.Value == "members":
		w.fault(field, "", "%s is not a family: it has no matrix", name.Value)
	case field.Value == "result":
		w.fault(field, fmt.Sprintf("a command sets outputs: needs.%s.outputs.KEY; how it ended is needs.%s.status", name.Value, name.Value), "%s is a command and has no result", name.Value)
	default:
		w.fault(field, w.knownOr(field.Value, known, "known"), "a need has no %q", field.Value)
	}
	return false
}

func (w *walker) declaredOutput(name *ast.StringNode, p ast.Node, kind needKind) {
	key, ok := p.(*ast.StringNode)
	if !ok || !kind.declared || kind.outputs.has(key.Value) {
		return
	}
	w.fault(p, w.knownOr(key.Value, kind.outputs.words, "its outputs"), "%s declares no output %q", name.Value, key.Value)
}

// replace puts a call of one of our functions in the place of a node.
func (w *walker) replace(node *ast.Node, function string, guarded bool, args ...ast.Node) {
	if guarded {
		function += "OrNil"
	}
	at := (*node).Location()
	for _, a := range args {
		if a.Location().From == 0 {
			a.SetLocation(at)
		}
	}
	callee := &ast.IdentifierNode{Value: function}
	callee.SetLocation(at)
	ast.Patch(node, &ast.CallNode{Callee: callee, Arguments: args})
}
