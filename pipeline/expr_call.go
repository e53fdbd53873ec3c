package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// Names of our functions that no one can write.
const (
	outputOfNeed   = "\x00output"
	outputOfMember = "\x00memberOutput"
	statusPrefix   = "\x00status:"
	hashOfFiles    = "\x00hashFiles"
)

// ourFunctions can be called beside expr-lang's own.
var ourFunctions = []string{"contains", "startsWith", "endsWith", "join", "fromJSON", "toJSON", "replace", "success", "failure", "cancelled", "hashFiles"}

// disabled are expr-lang's functions that read the clock or the machine, whose
// results come in no order, or that would go round the check of names.
var disabled = map[string]string{
	"now": "it reads the clock", "date": "it reads the machine's time zones", "timezone": "it reads the machine's time zones",
	"duration": "times are text here", "keys": "it has no order", "values": "it has no order", "toPairs": "it has no order",
	"get": "write a.b or a[\"b\"]",
}

// allowedBuiltins are expr-lang's functions that stay.
var allowedBuiltins = strings.Fields("all none any one filter map find findIndex findLast findLastIndex count sum groupBy sortBy reduce " +
	"len type abs ceil floor round int float string trim trimPrefix trimSuffix upper lower split splitAfter repeat indexOf lastIndexOf " +
	"hasPrefix hasSuffix max min mean median toBase64 fromBase64 first last take fromPairs reverse uniq concat flatten sort")

func (w *walker) call(node *ast.Node, n *ast.CallNode) {
	id, ok := n.Callee.(*ast.IdentifierNode)
	if !ok {
		w.fault(n, "", "only functions can be called")
		return
	}
	switch id.Value {
	case "success", "failure", "cancelled", "always":
		w.statusCall(node, n, id)
	case "hashFiles":
		w.hashFiles(node, n)
	case "toJSON":
		for i := range n.Arguments {
			if !w.whole(n.Arguments[i]) {
				w.walk(&n.Arguments[i], false)
			}
		}
	case "Contains", "StartsWith", "EndsWith", "join", "fromJSON", "replace":
		w.all(n.Arguments)
	default:
		if why := disabled[id.Value]; why != "" {
			w.fault(n, why, "%s() does not exist here", id.Value)
			return
		}
		known := slices.Concat(ourFunctions, allowedBuiltins)
		w.fault(n, w.hint(func() string { return didYouMean(id.Value, known) }), "unknown function %s()", id.Value)
	}
}

// statusCall handles success() and its like, which speak of the direct needs.
func (w *walker) statusCall(node *ast.Node, n *ast.CallNode, id *ast.IdentifierNode) {
	w.reads.status = true
	const add = "add always-run: true, and the module runs however its needs ended"
	switch {
	case w.vocab.lenient:
	case id.Value == "always" && w.vocab.always:
		w.fault(n, "the module is always-run already: leave it out", "always() does not exist here")
		return
	case id.Value == "always":
		w.fault(n, add, "always() does not exist here")
		return
	case !w.vocab.condition:
		w.fault(n, "write needs.NAME.status", "%s() is allowed in if only", id.Value)
		return
	case id.Value != "success" && !w.vocab.always:
		w.fault(n, add, "%s() is never true here: %s does not run when a need failed or was cancelled", id.Value, w.vocab.module)
		return
	case len(n.Arguments) > 0:
		w.fault(n, "write "+id.Value+"()", "%s() takes no arguments", id.Value)
		return
	}
	w.replace(node, statusPrefix+id.Value, false, &ast.IdentifierNode{Value: hidden})
}

// isCacheKey reports whether a place is a key of cache or cache-dirs.
func isCacheKey(field string) bool { return strings.HasPrefix(field, "cache") }

// hashFiles handles the function of this name, whose value is known where the
// run's snapshot is.
func (w *walker) hashFiles(node *ast.Node, n *ast.CallNode) {
	w.reads.files = true
	switch {
	case w.vocab.lenient:
	case !w.vocab.hashes:
		w.fault(n, "", "hashFiles() is known in the keys of cache and cache-dirs only")
		return
	case len(n.Arguments) == 0:
		w.fault(n, "write hashFiles('go.sum')", "hashFiles() takes at least one glob")
		return
	}
	for _, a := range n.Arguments {
		if s, ok := a.(*ast.StringNode); ok {
			if err := validGlob(s.Value); err != nil {
				w.fault(a, "", "hashFiles(): %v", err)
			}
		}
	}
	w.all(n.Arguments)
	w.replace(node, hashOfFiles, false, append([]ast.Node{&ast.IdentifierNode{Value: hidden}}, n.Arguments...)...)
}

// whole handles toJSON(needs), toJSON(needs.X), toJSON(needs.X.outputs), toJSON(params) and toJSON(matrix).
func (w *walker) whole(n ast.Node) bool {
	root, props := chain(n)
	if root == nil || len(props) > 2 || slices.Contains(w.vars, root.Value) {
		return false
	}
	names := make([]string, len(props))
	for i, p := range props {
		s, ok := p.(*ast.StringNode)
		if !ok {
			return false
		}
		s.Value = restoreHyphens(s.Value)
		names[i] = s.Value
	}
	switch {
	case root.Value == "params" && len(props) == 0:
		w.reads.params = true
	case root.Value == "matrix" && len(props) == 0:
		w.axis(n, &ast.StringNode{Value: firstOf(w.vocab.axes.names)})
	case root.Value == "needs" && len(props) == 0 && w.vocab.reach == ready:
		for name := range w.vocab.needs {
			w.reads.need(name, true)
		}
	case root.Value == "needs" && len(props) == 1:
		return w.wholeNeed(names[0])
	case root.Value == "needs" && len(props) == 2 && names[1] == "outputs" && !w.vocab.needs[names[0]].family:
		return w.wholeNeed(names[0])
	default:
		return false
	}
	return true
}

func (w *walker) wholeNeed(name string) bool {
	if _, known := w.vocab.needs[name]; !known || w.vocab.reach < ready {
		return false
	}
	w.reads.need(name, true)
	return true
}

func firstOf(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return words[0]
}

func (w *walker) builtin(n *ast.BuiltinNode) {
	ofMembers := len(n.Arguments) > 0 && w.isMembers(n.Arguments[0])
	for i := range n.Arguments {
		if _, predicate := n.Arguments[i].(*ast.PredicateNode); !predicate {
			w.walk(&n.Arguments[i], false)
			continue
		}
		w.members = append(w.members, ofMembers)
		w.walk(&n.Arguments[i], false)
		w.members = w.members[:len(w.members)-1]
	}
}

// isMembers says whether a node is a list of members of a family.
func (w *walker) isMembers(n ast.Node) bool {
	if b, ok := n.(*ast.BuiltinNode); ok && len(b.Arguments) > 0 {
		return slices.Contains([]string{"filter", "take", "reverse", "sortBy"}, b.Name) && w.isMembers(b.Arguments[0])
	}
	root, props := chain(n)
	if root == nil || root.Value != "needs" || len(props) != 2 {
		return false
	}
	s, ok := props[1].(*ast.StringNode)
	return ok && s.Value == "members"
}

// isMember says whether a node is one member of a family.
func (w *walker) isMember(n ast.Node) bool {
	switch m := n.(type) {
	case *ast.PointerNode:
		return m.Name == "" && len(w.members) > 0 && w.members[len(w.members)-1]
	case *ast.MemberNode:
		return w.isMembers(m.Node)
	case *ast.BuiltinNode:
		return len(m.Arguments) > 0 && slices.Contains([]string{"first", "last", "find", "findLast"}, m.Name) && w.isMembers(m.Arguments[0])
	}
	return false
}

// memberOutput takes MEMBER.outputs.KEY apart.
func (w *walker) memberOutput(n *ast.MemberNode) (owner, key ast.Node, ok bool) {
	outputs, ok := n.Node.(*ast.MemberNode)
	if !ok {
		return nil, nil, false
	}
	p, ok := outputs.Property.(*ast.StringNode)
	if !ok || p.Value != "outputs" || !w.isMember(outputs.Node) {
		return nil, nil, false
	}
	return outputs.Node, n.Property, true
}

// compare checks that a status is compared with a status, and warns
// when a choice is compared with a text that is not among its options.
func (w *walker) compare(n *ast.BinaryNode) {
	switch n.Operator {
	case "==", "!=":
		w.comparedWith(n.Left, n.Right)
		w.comparedWith(n.Right, n.Left)
	case "in":
		if words, ok := n.Right.(*ast.ArrayNode); ok {
			for _, word := range words.Nodes {
				w.comparedWith(n.Left, word)
			}
		}
	}
}

func (w *walker) comparedWith(n, word ast.Node) {
	if w.isStatus(n) {
		w.statusWord(word)
	}
	root, props := chain(n)
	if root == nil || root.Value != "params" || len(props) != 1 || slices.Contains(w.vars, root.Value) {
		return
	}
	if name, ok := props[0].(*ast.StringNode); ok {
		w.option(restoreHyphens(name.Value), word)
	}
}

// option doubts a word that no option of a choice is.
func (w *walker) option(param string, n ast.Node) {
	options := w.vocab.choices[param]
	s, ok := n.(*ast.StringNode)
	if !ok || len(options) == 0 || slices.Contains(options, s.Value) {
		return
	}
	hint := ""
	if i := slices.IndexFunc(options, func(o string) bool { return strings.EqualFold(o, s.Value) }); i >= 0 {
		hint = fmt.Sprintf("write %q: comparisons regard case", options[i])
	} else {
		hint = w.knownOr(s.Value, options, "options")
	}
	w.doubt(n, hint, "no option of parameter %s is %q", param, s.Value)
}

func (w *walker) isStatus(n ast.Node) bool {
	m, ok := n.(*ast.MemberNode)
	if !ok {
		return false
	}
	p, ok := m.Property.(*ast.StringNode)
	if !ok || p.Value != "status" {
		return false
	}
	root, props := chain(m)
	return root != nil && root.Value == "needs" && len(props) == 2 || w.isMember(m.Node)
}

func (w *walker) statusWord(n ast.Node) {
	s, ok := n.(*ast.StringNode)
	if !ok || slices.Contains(Statuses(), s.Value) {
		return
	}
	hint := ""
	if ours := foreignStatuses[strings.ToLower(s.Value)]; ours != "" {
		hint = "did you mean \"" + ours + "\"?"
	} else {
		hint = w.knownOr(s.Value, Statuses(), "statuses")
	}
	w.fault(n, hint, "no status is called %q", s.Value)
}
