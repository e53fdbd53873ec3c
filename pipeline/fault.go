package pipeline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is one mistake of the author: in the file, in a parameter or in a
// selection. As a warning it is a probable one.
type Fault struct {
	File         string // as it was named to Parse; empty when the mistake is not in a file
	Line, Column int    // from 1, in characters; 0 when the mistake is not in a file; of Go code the line only
	Text         string // what is wrong
	Excerpt      string // the line of the file and below it a caret; may be empty
	Suggestion   string // what to do, a sentence; may be empty
}

// String gives FILE:LINE:COLUMN: text, the suggestion, and the excerpt on separate lines.
func (f Fault) String() string {
	var b strings.Builder
	if f.File != "" && f.Line > 0 && f.Column > 0 {
		fmt.Fprintf(&b, "%s:%d:%d: ", f.File, f.Line, f.Column)
	} else if f.File != "" && f.Line > 0 {
		fmt.Fprintf(&b, "%s:%d: ", f.File, f.Line)
	} else if f.File != "" {
		fmt.Fprintf(&b, "%s: ", f.File)
	}
	b.WriteString(f.Text)
	if f.Suggestion != "" {
		b.WriteString("; " + f.Suggestion)
	}
	for line := range strings.Lines(f.Excerpt) {
		b.WriteString("\n    " + strings.TrimRight(line, "\n"))
	}
	return b.String()
}

// Faults are all the mistakes that were found, in the order of their positions. Nothing of a pipeline that has one runs.
type Faults []Fault

// Error prints the faults one after the other.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// MaxSuggestions is for how many faults corrections are looked for: each is
// compared with all that is known.
const MaxSuggestions = 100

// knownOr is the function of this name for the first faults of a file.
func (c *collector) knownOr(word string, known []string, what string) string {
	return c.hint(func() string { return knownOr(word, known, what) })
}

// hint makes a suggestion, as long as some are left.
func (c *collector) hint(suggest func() string) string {
	if !c.suggests() {
		return ""
	}
	return suggest()
}

// suggests takes one of the suggestions that are left.
func (c *collector) suggests() bool {
	c.suggested++
	return c.suggested <= MaxSuggestions
}

// MaxFaults is how many faults are reported at most: enough for one round of corrections, and a
// bound of what a hostile file can make us print.
const MaxFaults = 1000

// collector gathers faults, each once: what several modules share through an
// anchor or the defaults is reported once. It remembers which nodes are
// faulty, so that one mistake is not reported a second time by what reads it.
type collector struct {
	src  *fileText
	list Faults
	seen map[Fault]bool
	bad  map[*node]bool

	warnings Faults

	suggested int // faults for which corrections were looked for
}

func newCollector(src *fileText) *collector {
	return &collector{src: src, seen: map[Fault]bool{}, bad: map[*node]bool{}}
}

// fault reports what is wrong with a node.
func (c *collector) fault(n *node, suggestion, format string, args ...any) {
	c.bad[n] = true
	c.faultAt(position{n.Line, n.Col}, suggestion, format, args...)
}

// full reports whether nothing more is reported.
func (c *collector) full() bool { return len(c.list) >= MaxFaults }

func (c *collector) faultAt(at position, suggestion, format string, args ...any) {
	c.add(&c.list, at, fmt.Sprintf(format, args...), suggestion)
}

// add puts a fault or a warning on its list, once.
func (c *collector) add(list *Faults, at position, text, suggestion string) {
	f := Fault{File: c.src.name, Line: at.line, Column: at.col, Text: text, Suggestion: suggestion}
	if len(*list) >= MaxFaults || c.seen[f] {
		return
	}
	c.seen[f] = true
	f.Excerpt = c.src.excerpt(at)
	*list = append(*list, f)
}

// ok reports whether a node exists and has no fault.
func (c *collector) ok(n *node) bool { return n != nil && !c.bad[n] }

// err gives the faults, sorted; nil without any.
func (c *collector) err() error {
	if len(c.list) == 0 {
		return nil
	}
	return c.list.sorted()
}

// sorted sorts faults by position.
func (f Faults) sorted() Faults {
	slices.SortStableFunc(f, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Text, b.Text))
	})
	return f
}
