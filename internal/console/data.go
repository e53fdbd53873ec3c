package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/modpipe/modpipe/internal/safetext"
)

// JSON writes v as indented JSON.
func JSON(w io.Writer, v any) error {
	e := json.NewEncoder(safetext.JSONWriter(w))
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// YAML writes v with the keys, and in the order, of its JSON.
func YAML(w io.Writer, v any) error {
	src, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(src, &doc); err != nil {
		return err
	}
	plain(&doc)
	var text bytes.Buffer
	e := yaml.NewEncoder(&text)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(&doc), e.Close()); err != nil {
		return err
	}
	_, err = w.Write(safetext.YAML(text.Bytes())) // what it escapes is in quotes: plain sees to that
	return err
}

// plain takes JSON's quotes and braces off. The tags keep text text: the
// encoder quotes what would be read as something else.
func plain(n *yaml.Node) {
	empty := len(n.Content) == 0 && n.Kind != yaml.ScalarNode
	if !empty {
		n.Style = 0
	}
	if n.Kind == yaml.ScalarNode {
		n.Style = scalarStyle(n.Value)
	}
	for _, c := range n.Content {
		plain(c)
	}
}

// scalarStyle is quotes for text that could be taken for a command where it is
// shown, and lines for other text that has some.
func scalarStyle(text string) yaml.Style {
	switch {
	case safetext.Text(text) != text:
		return yaml.DoubleQuotedStyle
	case strings.Contains(text, "\n"):
		return yaml.LiteralStyle
	}
	return 0
}
