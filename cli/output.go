package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/modpipe/modpipe/internal/safetext"
)

// writef and writeln write to a stream of the process, for people: whatever the
// text holds, it commands neither a terminal nor a CI system. When writing
// fails, the reader is gone, and no other can be told.
func writef(w io.Writer, format string, args ...any) {
	_, _ = io.WriteString(w, safetext.Screen(fmt.Sprintf(format, args...)))
}

func writeln(w io.Writer, args ...any) {
	_, _ = io.WriteString(w, safetext.Screen(fmt.Sprintln(args...)))
}

// emit writes v as -o asks; table and names write the two other forms.
func (a *app) emit(v any, table, names func(io.Writer)) error {
	switch a.set.output {
	case "json":
		return writeJSON(a.Stdout, v)
	case "yaml":
		return writeYAML(a.Stdout, v)
	case "name":
		names(a.Stdout)
	default:
		table(a.Stdout)
	}
	return nil
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(safetext.JSONWriter(w))
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// writeYAML writes v with the keys, and in the order, of its JSON.
func writeYAML(w io.Writer, v any) error {
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

// grid is a table of text in aligned columns.
type grid struct {
	head []string
	rows [][]string
	tint func(column int, cell, padded string) string // nil = no colour
}

func (g *grid) add(cells ...string) { g.rows = append(g.rows, each(cells, safetext.Line)) }

func (g *grid) write(w io.Writer) {
	widths := make([]int, len(g.head))
	measure := func(cells []string) {
		for i, c := range cells {
			if i < len(cells)-1 { // the last column needs no padding
				widths[i] = max(widths[i], utf8.RuneCountInString(c))
			}
		}
	}
	measure(g.head)
	for _, r := range g.rows {
		measure(r)
	}
	line := func(cells []string, tint func(int, string, string) string) {
		var b strings.Builder
		for i, c := range cells {
			padded := c
			if i < len(cells)-1 {
				padded = pad(c, widths[i]) + "  "
			}
			if tint != nil {
				padded = tint(i, c, padded)
			}
			b.WriteString(padded)
		}
		writeln(w, strings.TrimRight(b.String(), " "))
	}
	line(g.head, nil)
	for _, r := range g.rows {
		line(r, g.tint)
	}
}

// pad fills s up to width with blanks.
func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}

// firstLine is the first line of s, at most most letters of it.
func firstLine(s string, most int) string {
	s, more, _ := strings.Cut(strings.TrimSpace(s), "\n")
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	if strings.TrimSpace(more) != "" {
		return s + " …"
	}
	return s
}

// orDash is s, or a dash for nothing.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
