package pipeline

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/checker"
	"github.com/expr-lang/expr/checker/nature"
	"github.com/expr-lang/expr/compiler"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"
)

// Bounds of an expression.
const (
	maxExpression  = 8 << 10 // bytes of source
	maxExprNodes   = 1000
	expressionSize = 1_000_000 // what expr-lang counts as memory while it runs
)

// expression is a compiled expression.
type expression struct {
	program *vm.Program
	reads   reads
	doubts  []exprFault  // what is probably a mistake in it
	typ     reflect.Type // of the result; an interface when it is not known
}

// compileExpression parses, checks and compiles. Faults of names come before
// those of types, because the latter follow from the former.
func compileExpression(src string, vocab *vocabulary, boolean bool) (*expression, []exprFault) {
	if strings.TrimSpace(src) == "" {
		return nil, []exprFault{{text: "the expression is empty"}}
	}
	if len(src) > maxExpression {
		return nil, []exprFault{{text: fmt.Sprintf("the expression is longer than %d bytes", maxExpression)}}
	}
	normal := normalise(src)
	tree, err := parser.ParseWithConfig(normal, newConfig())
	if err != nil {
		return nil, []exprFault{faultOf(err)}
	}
	w := &walker{vocab: vocab}
	w.walk(&tree.Node, false)
	if len(w.faults) > 0 {
		return nil, w.faults
	}
	config := newConfig()
	if boolean {
		expr.AsBool()(config)
	}
	if err := checkTypes(tree, config, vocab); err != nil {
		f := faultOf(err)
		if boolean && strings.HasPrefix(f.text, "expected bool") {
			f.text, f.suggestion = "a condition must be true or false; this one is "+kindWord(tree.Node.Type()), conditionHint(src, tree.Node.Type())
		}
		return nil, []exprFault{f}
	}
	typ := tree.Node.Type()
	ast.Walk(&tree.Node, exacter{[]rune(normal), w.guarded})
	ast.Walk(&tree.Node, bounder{})
	config.Expect = reflect.Invalid // what the checker could not tell, Condition says in words
	program, err := compiler.Compile(tree, config)
	if err != nil {
		return nil, []exprFault{faultOf(err)}
	}
	return &expression{program: program, reads: w.reads, doubts: w.doubts, typ: typ}, nil
}

// checkTypes takes parameters that are numbers for fractions, and where that
// fails for whole numbers: which they are is known only with their values.
func checkTypes(tree *parser.Tree, config *conf.Config, vocab *vocabulary) error {
	words := properties{}
	ast.Walk(&tree.Node, words)
	config.WithEnv(vocab.types(words, false))
	_, err := checker.Check(tree, config)
	if err == nil || !vocab.hasNumbers(words) {
		return err
	}
	second := *config
	second.NtCache = nature.Cache{}
	second.WithEnv(vocab.types(words, true))
	if _, failed := checker.Check(tree, &second); failed == nil {
		return nil
	}
	return err
}

// properties are the names after a dot or in brackets. Only what an expression
// names is given a type, so that its check takes no longer where much is declared.
type properties map[string]bool

func (p properties) Visit(node *ast.Node) {
	if m, ok := (*node).(*ast.MemberNode); ok {
		if s, ok := m.Property.(*ast.StringNode); ok {
			p[s.Value] = true
		}
	}
}

// readsOf finds what an expression that was checked before reads.
func readsOf(src string, vocab *vocabulary) reads {
	tree, err := parser.ParseWithConfig(normalise(src), newConfig())
	if err != nil {
		return reads{}
	}
	w := &walker{vocab: vocab}
	w.walk(&tree.Node, false)
	return w.reads
}

// newConfig is a configuration of expr-lang for one expression: what all have
// in common is made once, and expr-lang keeps notes in the rest.
func newConfig() *conf.Config {
	c := *commonConfig()
	c.NtCache = nature.Cache{}
	return &c
}

var commonConfig = sync.OnceValue(func() *conf.Config {
	c := conf.New((&vocabulary{}).types(nil, false))
	c.MaxNodes = maxExprNodes
	for name := range disabled {
		c.Disabled[name] = true
		delete(c.Builtins, name)
	}
	for _, option := range slices.Concat(functions, exactOptions) {
		option(c)
	}
	return c
})

func kindWord(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Int, reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list"
	}
	return "of type " + t.String()
}

// faultOf makes a fault of expr-lang's error.
func faultOf(err error) exprFault {
	fe, ok := errors.AsType[*file.Error](err)
	if !ok {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return exprFault{text: readable(first)}
	}
	msg := readable(fe.Message)
	return exprFault{offset: fe.From, text: msg, suggestion: typeHint(msg)}
}

// words of expr-lang's messages that would puzzle the author of a pipeline.
var plainWords = strings.NewReplacer(
	"unexpected token EOF", "the expression ends too early", string(hyphen), "-", "Contains", "contains", "StartsWith", "startsWith", "EndsWith", "endsWith",
	"float64", "number", "map[string]interface {}", "mapping", "interface {}", "anything", "\x00", "",
)

func readable(msg string) string { return plainWords.Replace(msg) }

// run evaluates an expression.
func (e *expression) run(env map[string]any) (any, error) {
	machine := vm.VM{MemoryBudget: expressionSize}
	out, err := machine.Run(e.program, env)
	if err == nil {
		return out, nil
	}
	if own, ok := errors.AsType[*missingOutputError](err); ok {
		return nil, own
	}
	if fe, ok := errors.AsType[*file.Error](err); ok {
		return nil, errors.New(readable(fe.Message))
	}
	return nil, err
}
