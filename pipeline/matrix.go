package pipeline

import (
	"fmt"
	"reflect"
	"strings"
	"unicode"
)

// Bounds of a matrix.
const (
	maxMembers   = 10_000
	maxAxisValue = 256 // bytes
)

const axisField = "matrix"

// axisValues is an axis with its values.
type axisValues struct {
	name   string
	at     *node
	values []string
}

// matrixReader makes combinations of a matrix.
type matrixReader struct {
	*collector
	e      *evaluator
	tree   *node
	family string
	s      *runtimeScope // what is known of the needs; nil: nothing yet
}

// check finds what is wrong with a matrix before any value is known.
func (m *matrixReader) check() {
	if !m.ok(m.tree) || m.tree.Kind != mapNode {
		return
	}
	m.checkAxisNames()
	var axes wordSet
	for _, name := range ownAxes(m.tree) {
		axes.add(name)
	}
	for _, entry := range m.tree.get("exclude").elements() {
		for _, k := range entry.Keys {
			if m.ok(k) && !axes.has(k.Value) {
				m.fault(k, m.knownOr(k.Value, axes.words, "axes"), "exclude: %s has no axis %q", m.family, k.Value)
			}
		}
	}
	m.combinations()
}

// checkAxisNames refuses axes that would share a variable MODPIPE_MATRIX_….
func (m *matrixReader) checkAxisNames() {
	seen := map[string]*node{}
	for _, k := range m.tree.Keys {
		variable := strings.ToUpper(strings.ReplaceAll(k.Value, "-", "_"))
		if first := seen[variable]; first != nil {
			m.fault(k, "", "axes %q and %q would share MODPIPE_MATRIX_%s", first.Value, k.Value, variable)
		}
		seen[variable] = k
	}
}

// reads are the direct needs that the axes read.
func (m *matrixReader) reads() []string {
	found := map[string]bool{}
	for i, k := range m.tree.Keys {
		if k.Value == "include" || k.Value == "exclude" {
			continue
		}
		for _, n := range m.tree.Items[i].elements() {
			parts, _ := segments(n.Value)
			for _, p := range parts {
				if x, faults := m.e.compile(p.expr, axisField, ready, false); p.isExpr && len(faults) == 0 {
					for name := range x.reads.needs {
						found[name] = true
					}
				}
			}
		}
	}
	return sortedKeys(found)
}

// combinations expands a matrix; false when something is not known yet or faulty.
func (m *matrixReader) combinations() ([][]Coordinate, bool) {
	if !m.ok(m.tree) || m.tree.Kind != mapNode {
		return nil, false
	}
	known := true
	var axes []axisValues
	for i, k := range m.tree.Keys {
		if k.Value == "include" || k.Value == "exclude" {
			continue
		}
		values, ok := m.axis(k, m.tree.Items[i])
		known = known && ok
		axes = append(axes, axisValues{k.Value, k, values})
	}
	include, ok1 := m.entries("include")
	exclude, ok2 := m.entries("exclude")
	if !known || !ok1 || !ok2 {
		return nil, false
	}
	combinations, err := expand(axes, include, exclude)
	if err != nil {
		m.fault(m.tree, "", "matrix of %s: %v", m.family, err)
		return nil, false
	}
	if len(combinations) == 0 && m.s == nil {
		m.fault(m.tree, "", "matrix of %s has no combination left", m.family)
		return nil, false
	}
	return combinations, m.distinct(combinations)
}

// distinct refuses two members of one name.
func (m *matrixReader) distinct(combinations [][]Coordinate) bool {
	seen := make(map[string]bool, len(combinations))
	for _, pairs := range combinations {
		name := memberName(m.family, pairs)
		if seen[name] {
			m.fault(m.tree, "", "the matrix gives %s twice", name)
			return false
		}
		seen[name] = true
	}
	return true
}

// axis reads the values of an axis: a list, a word, or one expression that gives a list.
func (m *matrixReader) axis(k, n *node) ([]string, bool) {
	if !m.ok(k) || !m.ok(n) {
		return nil, false
	}
	if parts, unclosed := segments(strings.TrimSpace(n.Value)); n.Kind == scalarNode && unclosed < 0 && len(parts) == 1 && parts[0].isExpr {
		return m.listExpression(n, parts[0].expr)
	}
	known := true
	var values []string
	seen := map[string]bool{}
	for _, item := range n.elements() {
		v, ok := m.value(item)
		known = known && ok
		if ok && seen[v] {
			m.fault(item, "", "axis %s has %q twice", k.Value, v)
			known = false
		}
		if ok {
			seen[v] = true
		}
		values = append(values, v)
	}
	if len(values) == 0 {
		m.fault(n, "", "axis %s is empty", k.Value)
		return nil, false
	}
	return values, known
}

// value reads one value of an axis or of an entry.
func (m *matrixReader) value(n *node) (string, bool) {
	if !m.ok(n) || n.Kind == listNode || n.Kind == mapNode {
		return "", false
	}
	t := m.textNode(n, m.e, axisField, ready)
	if !m.ok(n) {
		return "", false
	}
	v, known := t.plain()
	if !known && m.s != nil {
		var err error
		if v, err = t.resolve(m.e, axisField, m.s); err != nil {
			m.fault(n, "", "%v", err)
			return "", false
		}
		known = true
	}
	if known {
		if err := validAxisValue(v); err != nil {
			m.fault(n, "", "%v", err)
			return "", false
		}
	}
	return v, known
}

func validAxisValue(v string) error {
	switch {
	case len(v) > maxAxisValue:
		return fmt.Errorf("a value of an axis has more than %d bytes: %s", maxAxisValue, quoteShort(v))
	case strings.ContainsFunc(v, unicode.IsControl):
		return fmt.Errorf("a value of an axis is one line of text: %s", quoteShort(v))
	}
	return nil
}

// listExpression reads an axis that is one expression.
func (m *matrixReader) listExpression(n *node, src string) ([]string, bool) {
	at := func(offset int) position { return m.src.expression(n, 0, offset, src) }
	x, faults := m.e.compile(src, axisField, ready, false)
	if len(faults) > 0 {
		m.exprFaults(n, faults, at)
		return nil, false
	}
	m.doubts(x, at)
	if k := x.typ.Kind(); k != reflect.Slice && k != reflect.Interface {
		m.exprFaults(n, []exprFault{{0, "an axis must be a list; this one is " + kindWord(x.typ), "fromJSON(…) makes a list of a JSON text"}}, at)
		return nil, false
	}
	scope := m.s
	if scope == nil {
		if !m.e.known(x.reads) {
			return nil, false
		}
		scope = &runtimeScope{}
	}
	values, err := m.listOf(x, scope)
	if err == nil && len(values) == 0 && m.s == nil && len(m.tree.get("include").elements()) == 0 {
		err = fmt.Errorf("the list is empty")
	}
	if err != nil {
		m.bad[n] = true
		m.faultAt(at(0), "", "${{ %s }}: %v", strings.TrimSpace(src), err)
		return nil, false
	}
	return values, true
}

func (m *matrixReader) listOf(x *expression, s *runtimeScope) ([]string, error) {
	v, err := x.run(m.e.env(x, s))
	if err != nil {
		return nil, err
	}
	list, ok := asList(v)
	if !ok {
		text, _ := textOf(v)
		return nil, fmt.Errorf("an axis must be a list, not %s", quoteShort(text))
	}
	if len(list) > maxMembers {
		return nil, fmt.Errorf("more than %d values", maxMembers)
	}
	seen := map[string]bool{}
	values := make([]string, len(list))
	for i, item := range list {
		switch item.(type) {
		case string, bool, int, float64, decimal:
		default:
			text, _ := textOf(item)
			return nil, fmt.Errorf("value %d of the list is not a text or number: %s", i+1, quoteShort(text))
		}
		values[i], _ = textOf(item)
		if seen[values[i]] {
			return nil, fmt.Errorf("the list has %s twice", quoteShort(values[i]))
		}
		seen[values[i]] = true
		if err := validAxisValue(values[i]); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// entries reads include or exclude.
func (m *matrixReader) entries(key string) ([][]Coordinate, bool) {
	known := true
	var entries [][]Coordinate
	for _, entry := range m.tree.get(key).elements() {
		if !m.ok(entry) {
			return nil, false
		}
		var pairs []Coordinate
		for i, k := range entry.Keys {
			n := entry.Items[i]
			if !m.ok(n) || !m.ok(k) {
				return nil, false
			}
			t := m.textNode(n, m.e, key, graph)
			v, ok := t.plain()
			if ok && m.ok(n) {
				if err := validAxisValue(v); err != nil {
					m.fault(n, "", "%v", err)
				}
			}
			known = known && ok && m.ok(n)
			pairs = append(pairs, Coordinate{k.Value, v})
		}
		entries = append(entries, pairs)
	}
	return entries, known
}
