package pipeline

import (
	"errors"
	"fmt"
	"strings"
)

// evaluator knows what expressions of one module, or of the pipeline, read,
// and compiles each of them once.
type evaluator struct {
	vocab    *vocabulary
	compiled map[string]*expression
	params   map[string]any    // nil: not known yet
	matrix   map[string]string // nil: not known yet
}

func (s *vocabulary) evaluator() *evaluator {
	return &evaluator{vocab: s, compiled: map[string]*expression{}}
}

// withMatrix is an evaluator for one member of a family.
func (e *evaluator) withMatrix(pairs []Coordinate) *evaluator {
	member := *e
	member.matrix = make(map[string]string, len(pairs))
	for _, p := range pairs {
		member.matrix[p.Axis] = p.Value
	}
	return &member
}

// compile compiles an expression of a field, with the reach of that field.
func (e *evaluator) compile(src, field string, r reach, boolean bool) (*expression, []exprFault) {
	key := fmt.Sprint(field, " ", r, boolean, " ", src)
	if x := e.compiled[key]; x != nil {
		return x, nil
	}
	vocab := *e.vocab
	vocab.field, vocab.reach, vocab.condition, vocab.hashes = field, r, boolean, isCacheKey(field)
	switch {
	case vocab.module == "":
		vocab.noMatrix = "the pipeline has no matrix: modules have"
	case field == axisField:
		vocab.noMatrix = "an axis may not read the matrix"
	}
	x, faults := compileExpression(src, &vocab, boolean)
	if len(faults) == 0 {
		e.compiled[key] = x
	}
	return x, faults
}

// known reports whether everything that an expression reads is known.
func (e *evaluator) known(r reads) bool {
	return len(r.needs) == 0 && !r.status && !r.files && (!r.params || e.params != nil) && (!r.matrix || e.matrix != nil)
}

// env is what an expression finds when it runs: of the needs those that it reads.
func (e *evaluator) env(x *expression, s *runtimeScope) map[string]any {
	s.steps = 0
	needs := map[string]any{}
	for name := range x.reads.needs {
		v := s.needs[name]
		needs[name] = needValue(v)
		if e.vocab.needs[name].family {
			needs[name] = familyValue(v)
		}
	}
	var matrix map[string]any
	if x.reads.matrix {
		matrix = axisMap(e.matrix)
	}
	return map[string]any{"params": e.params, "matrix": matrix, "needs": needs, hidden: s}
}

// axisMap is a matrix in which expr-lang finds nil where an axis is missing.
func axisMap(values map[string]string) map[string]any {
	m := make(map[string]any, len(values))
	for axis, v := range values {
		m[axis] = v
	}
	return m
}

func pairMap(pairs []Coordinate) map[string]string {
	m := make(map[string]string, len(pairs))
	for _, p := range pairs {
		m[p.Axis] = p.Value
	}
	return m
}

// exprText is an expression's result as text.
func (e *evaluator) exprText(x *expression, s *runtimeScope) (string, error) {
	v, err := x.run(e.env(x, s))
	if err != nil {
		return "", err
	}
	return textOf(v)
}

// textNode reads the text of a scalar: what is known is put in, as literal
// text that is not looked at again; what is not yet known stays an expression.
func (c *collector) textNode(n *node, e *evaluator, field string, r reach) Text {
	parts, unclosed := segments(n.Value)
	if unclosed >= 0 {
		c.bad[n] = true
		c.faultAt(c.src.expression(n, unclosed, 0, ""), "", "${{ has no }}")
		return nil
	}
	var t textBuilder
	for _, p := range parts {
		if !p.isExpr {
			t.literal(p.literal)
			continue
		}
		x, faults := e.compile(p.expr, field, r, false)
		if len(faults) > 0 {
			c.exprFaults(n, faults, func(offset int) position { return c.src.expression(n, p.index, offset, p.expr) })
			return nil
		}
		c.doubts(x, func(offset int) position { return c.src.expression(n, p.index, offset, p.expr) })
		at := c.src.expression(n, p.index, 0, "")
		if !e.known(x.reads) {
			t.expression(Part{Expr: strings.TrimSpace(p.expr), At: c.src.where(at)})
			continue
		}
		value, err := e.exprText(x, &runtimeScope{})
		if err != nil {
			c.bad[n] = true
			c.faultAt(at, "", "${{ %s }}: %v", strings.TrimSpace(p.expr), err)
			return nil
		}
		t.literal(value)
	}
	return t.text()
}

func (c *collector) exprFaults(n *node, faults []exprFault, at func(int) position) {
	c.bad[n] = true
	for _, f := range faults {
		c.faultAt(at(f.offset), f.suggestion, "%s", f.text)
	}
}

// doubts warns of what is probably a mistake in an expression.
func (c *collector) doubts(x *expression, at func(int) position) {
	for _, f := range x.doubts {
		c.add(&c.warnings, at(f.offset), f.text, f.suggestion)
	}
}

func (s *fileText) where(at position) string { return fmt.Sprintf("%s:%d:%d", s.name, at.line, at.col) }

// textBuilder puts a text together: literals that follow each other are one part.
type textBuilder struct {
	parts   Text
	pending strings.Builder
}

func (b *textBuilder) literal(s string) { b.pending.WriteString(s) }

func (b *textBuilder) expression(p Part) { b.parts = append(b.text(), p) }

func (b *textBuilder) text() Text {
	if b.pending.Len() > 0 {
		b.parts = append(b.parts, Part{Literal: b.pending.String()})
		b.pending.Reset()
	}
	return b.parts
}

// plain is the text of which everything is known.
func (t Text) plain() (string, bool) {
	var b strings.Builder
	for _, p := range t {
		if p.Expr != "" {
			return "", false
		}
		b.WriteString(p.Literal)
	}
	return b.String(), true
}

// String shows a text as it would be written.
func (t Text) String() string {
	var b strings.Builder
	for _, p := range t {
		if p.Expr != "" {
			b.WriteString("${{ " + p.Expr + " }}")
		} else {
			b.WriteString(p.Literal)
		}
	}
	return b.String()
}

// resolve puts everything into a text that became known.
func (t Text) resolve(e *evaluator, field string, s *runtimeScope) (string, error) {
	var b strings.Builder
	for _, p := range t {
		if p.Expr == "" {
			b.WriteString(p.Literal)
			continue
		}
		x, faults := e.compile(p.Expr, field, ready, false)
		if len(faults) > 0 {
			return "", atExpr(p.At, field, p.Expr, errors.New(faults[0].text))
		}
		value, err := e.exprText(x, s)
		if err != nil {
			return "", atExpr(p.At, field, p.Expr, err)
		}
		b.WriteString(value)
	}
	return b.String(), nil
}

// atExpr says of which expression an error is.
func atExpr(at, field, src string, err error) error {
	if at != "" {
		at += ": "
	}
	return fmt.Errorf("%s%s: ${{ %s }}: %w", at, field, src, err)
}
