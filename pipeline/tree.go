package pipeline

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// kind of a node.
type kind int

const (
	nullNode kind = iota
	scalarNode
	listNode
	mapNode
)

// node is a value of the file, with aliases followed and merges done. A
// scalar keeps the text that was written. It is encoded as JSON into the
// template of a family.
type node struct {
	Kind  kind    `json:"k"`
	Value string  `json:"v,omitempty"` // as written; of a null ~ too
	Type  string  `json:"t,omitempty"` // of a plain scalar: what YAML takes it for: str, int, float, bool
	Plain bool    `json:"p,omitempty"` // a scalar without quotes, not a block
	Tag   string  `json:"-"`           // written explicitly; always a fault
	Keys  []*node `json:"n,omitempty"` // of a mapping, beside Items
	Items []*node `json:"i,omitempty"`
	Line  int     `json:"l,omitempty"`
	Col   int     `json:"c,omitempty"`
}

// get is the value of a key of a mapping, nil without one.
func (n *node) get(key string) *node {
	if n == nil || n.Kind != mapNode {
		return nil
	}
	if i := n.index(key); i >= 0 {
		return n.Items[i]
	}
	return nil
}

func (n *node) index(key string) int {
	return slices.IndexFunc(n.Keys, func(k *node) bool { return k.Value == key })
}

// elements are the items of a list; one value is a list of one.
func (n *node) elements() []*node {
	if n == nil || n.Kind == nullNode {
		return nil
	}
	if n.Kind == listNode {
		return n.Items
	}
	return []*node{n}
}

// MaxFileSize is how many bytes a pipeline file may have: far above any
// honest one, as the other bounds.
const MaxFileSize = 64 << 20

const (
	maxNodes = 200_000 // with every alias counted as often as it is used
	maxDepth = 64
)

// treeBuilder makes nodes of YAML's.
type treeBuilder struct {
	*collector
	built map[*yaml.Node]*node // nil while it is being built
	size  map[*node]int
	total int
	full  bool // the bound was reached, and reported
}

// readTree reads the only document of a file; nil when it could not be read.
func readTree(c *collector, text []byte) *node {
	if len(text) > MaxFileSize {
		c.faultAt(position{1, 1}, "", "the file is larger than %d MiB", MaxFileSize>>20)
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(text))
	if err != nil {
		c.syntax(err, text)
		return nil
	}
	var doc, second yaml.Node
	switch err := loader.Load(&doc); {
	case errors.Is(err, io.EOF):
		c.faultAt(position{1, 1}, "a pipeline needs a name and modules", "the file is empty")
		return nil
	case err != nil:
		c.syntax(err, text)
		return nil
	}
	b := &treeBuilder{collector: c, built: map[*yaml.Node]*node{}, size: map[*node]int{}}
	root := b.build(doc.Content[0], 0)
	switch err := loader.Load(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		c.syntax(err, text)
	default:
		c.faultAt(position{second.Line, second.Column}, "write one pipeline per file", "a second document")
	}
	if b.full {
		return nil
	}
	return root
}

// syntax reports what the YAML parser says.
func (c *collector) syntax(err error, text []byte) {
	var load *yaml.LoadError
	if !errors.As(err, &load) {
		c.faultAt(position{1, 1}, "", "not YAML: %v", err)
		return
	}
	at := position{load.Mark.Line, load.Mark.Column}
	if at.line == 0 {
		at = positionOf(text, load.Mark.Index)
	}
	if at.line > len(c.src.lines) && load.ContextMark.Line > 0 {
		at = position{load.ContextMark.Line, load.ContextMark.Column}
	}
	msg := load.Message
	if load.ContextMsg != "" {
		msg = load.ContextMsg + ": " + msg
	}
	hint := ""
	if at.line >= 1 && at.line <= len(c.src.lines) {
		hint = syntaxHint(string(c.src.lines[at.line-1]))
	}
	c.faultAt(at, hint, "not YAML: %s", msg)
}

func syntaxHint(line string) string {
	switch {
	case strings.HasPrefix(strings.TrimLeft(line, " "), "\t"):
		return "indent with spaces, not tabs"
	case strings.Contains(line, "${{"):
		return `put text with ${{ }} in quotes: "${{ … }}"`
	}
	return ""
}

func positionOf(text []byte, index int) position {
	before := string(text[:min(max(index, 0), len(text))])
	line := strings.Count(before, "\n")
	return position{line + 1, len([]rune(before[strings.LastIndexByte(before, '\n')+1:])) + 1}
}

func (b *treeBuilder) build(y *yaml.Node, depth int) *node {
	n := &node{Line: y.Line, Col: y.Column}
	b.total++
	if depth > maxDepth || b.total > maxNodes {
		b.overflow(n)
		return n
	}
	if y.Kind == yaml.AliasNode {
		return b.alias(y, n)
	}
	if y.Style&yaml.TaggedStyle != 0 || y.Tag == "!" {
		n.Tag = y.Tag
	}
	before := b.total
	if y.Anchor != "" {
		b.built[y] = nil
	}
	switch y.Kind {
	case yaml.MappingNode:
		n.Kind = mapNode
		b.mapping(y, n, depth)
	case yaml.SequenceNode:
		n.Kind = listNode
		for _, item := range y.Content {
			n.Items = append(n.Items, b.build(item, depth+1))
		}
	default:
		scalar(y, n)
	}
	if y.Anchor != "" {
		b.built[y] = n
	}
	b.size[n] = b.total - before
	return n
}

func scalar(y *yaml.Node, n *node) {
	n.Kind, n.Value = scalarNode, y.Value
	n.Plain = y.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
	n.Type = "str"
	switch y.Tag {
	case "!!null":
		n.Kind = nullNode
	case "!!int", "!!float", "!!bool":
		n.Type = strings.TrimPrefix(y.Tag, "!!")
	}
}

func (b *treeBuilder) overflow(n *node) {
	if !b.full {
		b.fault(n, "aliases count as often as they are used", "the file has more than %d values, or more than %d levels", maxNodes, maxDepth)
	}
	b.full = true
}

func (b *treeBuilder) alias(y *yaml.Node, n *node) *node {
	target, begun := b.built[y.Alias]
	if target == nil || !begun {
		b.fault(n, "", "alias *%s is used within its own anchor", y.Value)
		return n
	}
	b.total += b.size[target]
	if b.total > maxNodes {
		b.overflow(n)
	}
	return target
}

// mapping reads keys and values; what << brings comes after what is written, and gives way to it.
func (b *treeBuilder) mapping(y *yaml.Node, n *node, depth int) {
	var merged []*node
	first := map[string]*node{}
	for i := 0; i+1 < len(y.Content); i += 2 {
		key, value := y.Content[i], y.Content[i+1]
		if key.Kind == yaml.ScalarNode && key.Tag == "!!merge" {
			merged = append(merged, b.merged(value, depth)...)
			continue
		}
		k := b.build(key, depth+1)
		v := b.build(value, depth+1)
		switch {
		case b.full:
			return
		case k.Kind != scalarNode:
			b.fault(k, "", "a key must be a word")
		case first[k.Value] != nil:
			b.fault(k, "", "key %q is repeated (first in line %d)", k.Value, first[k.Value].Line)
		default:
			first[k.Value] = k
			n.Keys, n.Items = append(n.Keys, k), append(n.Items, v)
		}
	}
	for _, m := range merged {
		for i, k := range m.Keys {
			if first[k.Value] == nil {
				first[k.Value] = k
				n.Keys, n.Items = append(n.Keys, k), append(n.Items, m.Items[i])
			}
		}
	}
}

func (b *treeBuilder) merged(y *yaml.Node, depth int) []*node {
	v := b.build(y, depth+1)
	var maps []*node
	for _, m := range v.elements() {
		if m.Kind != mapNode {
			b.fault(m, "", "<< takes a mapping or a list of mappings")
			continue
		}
		maps = append(maps, m)
	}
	return maps
}
