package console

import (
	"io"
	"strings"
	"unicode/utf8"

	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/safetext"
)

// Table is text in aligned columns.
type Table struct {
	Head []string
	Rows [][]string
	Tint func(column int, cell, padded string) string // nil = no colour
}

// Add adds a row. Each cell becomes one line.
func (g *Table) Add(cells ...string) { g.Rows = append(g.Rows, phrase.Each(cells, safetext.Line)) }

// Write writes the header and the rows. The last column has no padding.
func (g *Table) Write(w io.Writer) {
	widths := make([]int, len(g.Head))
	measure := func(cells []string) {
		for i, c := range cells {
			if i < len(cells)-1 { // the last column needs no padding
				widths[i] = max(widths[i], utf8.RuneCountInString(c))
			}
		}
	}
	measure(g.Head)
	for _, r := range g.Rows {
		measure(r)
	}
	line := func(cells []string, tint func(int, string, string) string) {
		var b strings.Builder
		for i, c := range cells {
			padded := c
			if i < len(cells)-1 {
				padded = phrase.Pad(c, widths[i]) + "  "
			}
			if tint != nil {
				padded = tint(i, c, padded)
			}
			b.WriteString(padded)
		}
		Writeln(w, strings.TrimRight(b.String(), " "))
	}
	line(g.Head, nil)
	for _, r := range g.Rows {
		line(r, g.Tint)
	}
}
