package pipeline

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A shape describes what is allowed at a place of the file. One table of shapes
// (shapes.go) drives both the check of a file and the JSON Schema, so that
// the two cannot drift apart.
type shape struct {
	form    form
	doc     string
	reach   reach              // of text: what expressions in it may read
	enum    []string           // of text: the words, without regard to case
	pattern string             // of text: what the schema says; the decoder asks valid
	valid   func(string) error // of text
	min     int                // of an integer
	max     int
	elem    *shape            // of a list or a map
	keys    *shape            // of a map: a text that every key must be
	fields  []field           // of an object
	foreign map[string]string // of an object: keys of other systems → what to write instead
	free    bool              // of an object: x-… is allowed in it
	choice  []*shape          // of a union: at most one for scalars, one for mappings, one for lists
	least   int               // of a list or a map: how many at least
}

type form int

const (
	textForm form = iota
	integerForm
	booleanForm
	conditionForm // text or a boolean: an expression
	listForm      // or one element
	objectForm    // known keys
	mapForm       // free keys
	unionForm
	anyForm
)

// reach is what expressions in a text may read.
type reach int

const (
	static reach = iota // no expressions: names, and what the graph hangs on
	script              // no expressions, for the shell must not read values as code
	graph               // params and matrix: known when the graph is made
	ready               // needs too: known when the module becomes ready
)

// field is a key of an object.
type field struct {
	key      string
	shape    *shape
	required bool
	inherits bool  // of a module: allowed in defaults
	state    state // of the key
}

type state int

const (
	supported state = iota
	reserved
)

func (s *shape) keysKnown() []string {
	var known []string
	for _, f := range s.fields {
		if f.state == supported {
			known = append(known, f.key)
		}
	}
	return known
}

func (s *shape) field(key string) (field, bool) {
	i := slices.IndexFunc(s.fields, func(f field) bool { return f.key == key })
	if i < 0 {
		return field{}, false
	}
	return s.fields[i], true
}

// check reports everything in which a node differs from its shape.
func (c *collector) check(n *node, s *shape, what string) {
	if n.Tag != "" {
		quoted := strings.TrimSpace(n.Tag + " " + n.Value)
		if strings.HasPrefix(n.Tag, "!!") {
			quoted = n.Value
		}
		c.fault(n, fmt.Sprintf("put it in quotes: %q", quoted), "%s is a YAML tag, which means nothing here", n.Tag)
		return
	}
	if n.Kind == nullNode && s.form != anyForm && (n.Value != "~" || s.form != textForm) {
		c.fault(n, "", "%s has no value", what)
		return
	}
	switch s.form {
	case anyForm:
	case unionForm:
		c.checkUnion(n, s, what)
	case listForm:
		c.checkList(n, s, what)
	case objectForm:
		c.checkObject(n, s, what)
	case mapForm:
		c.checkMap(n, s, what)
	default:
		if n.Kind != scalarNode && n.Kind != nullNode {
			c.fault(n, "", "%s must be %s, not a %s", what, s.noun(), n.Kind)
			return
		}
		c.checkScalar(n, s, what)
	}
}

func (k kind) String() string {
	return [...]string{"null", "word", "list", "mapping"}[k]
}

// noun says in a message what a shape is.
func (s *shape) noun() string {
	switch s.form {
	case integerForm:
		return "a whole number"
	case booleanForm:
		return "true or false"
	case listForm:
		return "a list"
	case objectForm, mapForm:
		return "a mapping"
	case unionForm:
		var words []string
		for _, alt := range s.choice {
			words = append(words, alt.noun())
		}
		return strings.Join(words, " or ")
	default:
		return "text"
	}
}

// takes says whether a shape is meant for nodes of a kind.
func (s *shape) takes(k kind) bool {
	switch s.form {
	case listForm:
		return k == listNode || s.elem.takes(k)
	case objectForm, mapForm:
		return k == mapNode
	case unionForm:
		return slices.ContainsFunc(s.choice, func(alt *shape) bool { return alt.takes(k) })
	default:
		return k == scalarNode
	}
}

func (c *collector) checkUnion(n *node, s *shape, what string) {
	for i, alt := range s.choice {
		if !alt.takes(n.Kind) {
			continue
		}
		if alt.form == booleanForm && i+1 < len(s.choice) && n.Type != "bool" {
			continue // true has its own alternative, beside words
		}
		c.check(n, alt, what)
		return
	}
	c.fault(n, "", "%s must be %s, not a %s", what, s.noun(), n.Kind)
}

func (c *collector) checkList(n *node, s *shape, what string) {
	if n.Kind != listNode && !s.elem.takes(n.Kind) {
		c.fault(n, listHint(n), "%s must be a list, not a %s", what, n.Kind)
		return
	}
	items := n.elements()
	if len(items) < s.least {
		c.fault(n, "", "%s is empty", what)
	}
	for _, item := range items {
		c.check(item, s.elem, what)
	}
}

// listHint shows the keys of a mapping as the list that is expected.
func listHint(n *node) string {
	var names []string
	for _, k := range n.Keys {
		names = append(names, k.Value)
	}
	if len(names) == 0 || len(names) > 12 {
		return ""
	}
	return "write the names alone: [" + strings.Join(names, ", ") + "]"
}

func (c *collector) checkMap(n *node, s *shape, what string) {
	if n.Kind != mapNode {
		c.fault(n, "", "%s must be a mapping, not a %s", what, n.Kind)
		return
	}
	if len(n.Keys) < s.least {
		c.fault(n, "", "%s is empty", what)
	}
	for i, k := range n.Keys {
		if f, known := s.field(k.Value); known {
			c.check(n.Items[i], f.shape, k.Value)
			continue
		}
		c.check(k, s.keys, "a name in "+what)
		c.check(n.Items[i], s.elem, k.Value)
	}
}

func (c *collector) checkObject(n *node, s *shape, what string) {
	if n.Kind != mapNode {
		c.fault(n, "", "%s must be a mapping, not a %s", what, n.Kind)
		return
	}
	for i, k := range n.Keys {
		if s.free && strings.HasPrefix(k.Value, "x-") {
			continue
		}
		c.checkKey(k, n.Items[i], s, what)
	}
	for _, f := range s.fields {
		if f.required && n.index(f.key) < 0 {
			c.faultAt(position{n.Line, n.Col}, "", "%s lacks %q", what, f.key)
		}
	}
}

func (c *collector) checkKey(k, value *node, s *shape, what string) {
	f, known := s.field(k.Value)
	instead := s.instead(k.Value, value)
	switch {
	case !known && instead != "":
		c.fault(k, instead, "unknown key %q in %s", k.Value, what)
	case !known:
		c.fault(k, c.knownOr(k.Value, s.keysKnown(), "known keys"), "unknown key %q in %s", k.Value, what)
	case f.state == reserved:
		c.fault(k, cmp.Or(instead, "keys of your own begin with x-"), "key %q is reserved", k.Value)
	default:
		c.check(value, f.shape, k.Value)
	}
}

func (c *collector) checkScalar(n *node, s *shape, what string) {
	switch s.form {
	case booleanForm:
		if n.Type != "bool" || !n.Plain {
			c.fault(n, booleanHint(n.Value), "%s must be true or false, not %q", what, n.Value)
		}
	case integerForm:
		i, err := strconv.Atoi(n.Value)
		switch {
		case n.Type != "int" || !n.Plain || (err != nil && !isDigits(n.Value)) || len(n.Value) > 1 && n.Value[0] == '0':
			c.fault(n, "", "%s must be a whole number, not %q", what, n.Value)
		case err != nil || i < s.min || i > s.max:
			c.fault(n, "", "%s must be from %d to %d, not %s", what, s.min, s.max, n.Value)
		}
	case textForm:
		if hasExpression(n.Value) && s.reach >= graph {
			return // its value is checked when it is known
		}
		if hasExpression(n.Value) && s.reach == static {
			c.fault(n, "", "expressions are not allowed in %s", what)
			return
		}
		if msg, hint := s.refuse(n.Value); msg != "" {
			c.fault(n, hint, "%s: %s", what, msg)
		}
	default: // a condition: the decoder compiles it
	}
}

// refuse says why a text is not one of a shape; empty when it is.
func (s *shape) refuse(text string) (msg, hint string) {
	if len(s.enum) > 0 && !slices.Contains(s.enum, text) {
		return fmt.Sprintf("%q is not one of %s", text, strings.Join(s.enum, ", ")), didYouMean(text, s.enum)
	}
	if s.valid == nil {
		return "", ""
	}
	if err := s.valid(text); err != nil {
		return err.Error(), ""
	}
	return "", ""
}

func booleanHint(word string) string {
	switch strings.ToLower(word) {
	case "yes", "on", "true":
		return "write true, without quotes"
	case "no", "off", "false":
		return "write false, without quotes"
	}
	return ""
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
