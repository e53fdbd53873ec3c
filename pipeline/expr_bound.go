package pipeline

import (
	"errors"
	"fmt"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// Bounds of what an expression makes. expr-lang counts what ranges and some of
// its functions allocate; text that doubles, and loops within loops, it does not.
const (
	maxText  = 16 << 20  // bytes of a text that was put together
	maxSteps = 5_000_000 // values that were made or looked at
)

const boundedCall = "\x00bounded"

// bounder wraps what can grow, or is done again and again, in a call that
// counts. It runs after the check of types, and leaves the types as they are.
type bounder struct{}

func (bounder) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.BinaryNode:
		if n.Operator == "+" {
			bound(node)
		}
	case *ast.CallNode:
		if id, ok := n.Callee.(*ast.IdentifierNode); ok && (!strings.HasPrefix(id.Value, "\x00") || id.Value == exactPrefix+"+") {
			bound(node)
		}
	case *ast.BuiltinNode:
		bound(node)
	case *ast.PredicateNode:
		bound(&n.Node)
	}
}

func bound(node *ast.Node) {
	old := *node
	call := &ast.CallNode{
		Callee:    &ast.IdentifierNode{Value: boundedCall},
		Arguments: []ast.Node{&ast.IdentifierNode{Value: hidden}, old},
	}
	ast.Patch(node, call)
	call.SetNature(*old.Nature())
}

func bounded(p ...any) (any, error) {
	s := p[0].(*runtimeScope)
	return p[1], s.count(p[1])
}

// count adds a value, with all that is in it, to what was done.
func (s *runtimeScope) count(v any) error {
	s.steps++
	if s.steps > maxSteps {
		return errors.New("the expression does too much")
	}
	switch v := v.(type) {
	case string:
		if len(v) > maxText {
			return fmt.Errorf("a text becomes longer than %d MiB", maxText>>20)
		}
	case []any:
		for _, item := range v {
			if err := s.count(item); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, item := range v {
			if err := s.count(item); err != nil {
				return err
			}
		}
	}
	return nil
}

// replace is expr-lang's, within the bound.
func replace(p ...any) (any, error) {
	s, from, to := p[0].(string), p[1].(string), p[2].(string)
	if len(s)+strings.Count(s, from)*max(0, len(to)-len(from)) > maxText {
		return nil, fmt.Errorf("a text becomes longer than %d MiB", maxText>>20)
	}
	return strings.ReplaceAll(s, from, to), nil
}
