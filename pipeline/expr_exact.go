package pipeline

import (
	"reflect"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// exacter puts our functions in the place of operators and functions of
// numbers, which round in expr-lang, and of fields that may be missing. It runs after the check of types, and
// leaves the types as they are.
type exacter struct {
	src     []rune
	guarded map[*ast.MemberNode]bool
}

func (x exacter) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.FloatNode:
		x.literal(node, n)
	case *ast.BinaryNode:
		x.binary(node, n)
	case *ast.UnaryNode:
		if n.Operator == "-" {
			substitute(node, "negate", n.Node)
		}
	case *ast.BuiltinNode:
		x.builtin(node, n)
	case *ast.MemberNode:
		exactIndex(&n.Property)
		if x.guarded[n] {
			substitute(node, "field", n.Node, n.Property)
		}
	case *ast.SliceNode:
		exactIndex(&n.From)
		exactIndex(&n.To)
	}
}

// exactIndex gives expr-lang the place of an element as it takes it.
func exactIndex(node *ast.Node) {
	switch (*node).(type) {
	case nil, *ast.StringNode, *ast.IntegerNode:
	default:
		substitute(node, "floats", *node)
	}
}

// literal keeps a fraction as it was written.
func (x exacter) literal(node *ast.Node, n *ast.FloatNode) {
	at := n.Location()
	if at.From < 0 || at.To > len(x.src) || at.From >= at.To {
		return
	}
	v, ok := parseNumber(strings.ReplaceAll(string(x.src[at.From:at.To]), "_", ""))
	if !ok {
		return
	}
	constant := &ast.ConstantNode{Value: v}
	nature := *n.Nature()
	ast.Patch(node, constant)
	constant.SetNature(nature)
}

func (x exacter) binary(node *ast.Node, n *ast.BinaryNode) {
	if n.Operator == ".." {
		substitute(&n.Left, "floats", n.Left)
		substitute(&n.Right, "floats", n.Right)
		return
	}
	if exactOperators[n.Operator] == nil || n.Operator != "in" && neverNumber(n.Left) && neverNumber(n.Right) {
		return
	}
	substitute(node, n.Operator, n.Left, n.Right)
}

// neverNumber reports whether expr-lang's own operators do for a node.
func neverNumber(n ast.Node) bool {
	t := n.Type()
	return t != nil && (t.Kind() == reflect.String || t.Kind() == reflect.Bool)
}

// builtin replaces functions of numbers; others are given floats, but where
// they hand on what a list holds.
func (x exacter) builtin(node *ast.Node, n *ast.BuiltinNode) {
	switch n.Name {
	case "sum":
		list := n.Arguments[0]
		if len(n.Arguments) == 2 {
			list = &ast.BuiltinNode{Name: "map", Arguments: n.Arguments}
			list.SetNature(*n.Arguments[0].Nature())
		}
		substitute(node, "sum", list)
	case "min", "max", "abs", "ceil", "floor", "round", "int", "string":
		substitute(node, n.Name, n.Arguments...)
	case "float", "type", "mean", "median", "sort", "toBase64", "len":
		for i := range n.Arguments {
			substitute(&n.Arguments[i], "floats", n.Arguments[i])
		}
	case "take", "repeat":
		substitute(&n.Arguments[1], "floats", n.Arguments[1])
	case "sortBy":
		if p, ok := n.Arguments[1].(*ast.PredicateNode); ok {
			substitute(&p.Node, "floats", p.Node)
		}
	}
}

// substitute puts a call of one of our functions in the place of a node.
func substitute(node *ast.Node, function string, args ...ast.Node) {
	nature := *(*node).Nature()
	call := &ast.CallNode{Callee: &ast.IdentifierNode{Value: exactPrefix + function}, Arguments: args}
	ast.Patch(node, call)
	call.SetNature(nature)
}
