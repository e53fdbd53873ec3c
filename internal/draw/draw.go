package draw

import (
	"cmp"
	"io"
	"strings"
	"time"

	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/safetext"
	"github.com/modpipe/modpipe/internal/waves"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// drawing is a pipeline prepared for a picture: families with their members,
// modules that are alone, and edges. Nodes are indices of modules.
type drawing struct {
	p        *pipeline.Pipeline
	families []string // in the order of the file
	members  map[string][]int
	alone    []int
	edges    []edge
}

type edge struct {
	from, to int
	optional bool
}

func newDrawing(p *pipeline.Pipeline) *drawing {
	d := &drawing{p: p, members: map[string][]int{}}
	graph := waves.NewNeeds(p)
	for i, m := range p.Modules {
		if m.Unselected {
			continue
		}
		if m.Family == "" || m.Dynamic != nil {
			d.alone = append(d.alone, i)
		} else {
			if len(d.members[m.Family]) == 0 {
				d.families = append(d.families, m.Family)
			}
			d.members[m.Family] = append(d.members[m.Family], i)
		}
		for _, n := range m.Needs {
			for _, j := range graph.Of(m, n) {
				if !p.Modules[j].Unselected {
					d.edges = append(d.edges, edge{from: j, to: i, optional: n.Optional})
				}
			}
		}
	}
	return d
}

// label is the text of a node: of a member its values, because the box names the family.
func (d *drawing) label(i int) string {
	m := d.p.Modules[i]
	if m.Dynamic != nil {
		return m.Name + " (…)"
	}
	if m.Family == "" {
		return m.Name
	}
	var values []string
	for _, pair := range m.Matrix {
		values = append(values, pair.Axis+"="+pair.Value)
	}
	return cmp.Or(strings.Join(values, ", "), m.Name)
}

// nodes calls node, with its indentation, for every module: first for those without
// a family, then for the members of each family, between begin and end.
func (d *drawing) nodes(node func(indent string, i int), begin func(n int, family string), end func()) {
	for _, i := range d.alone {
		node("  ", i)
	}
	for n, family := range d.families {
		begin(n, family)
		for _, i := range d.members[family] {
			node("    ", i)
		}
		end()
	}
}

func (d *drawing) dot(w io.Writer) {
	console.Writef(w, "digraph %s {\n  rankdir=LR;\n  node [shape=box, style=rounded];\n", quoteDot(d.p.Name))
	node := func(indent string, i int) {
		shape := ""
		if d.p.Modules[i].Dynamic != nil {
			shape = ", peripheries=2"
		}
		console.Writef(w, "%sm%d [label=%s%s];\n", indent, i, quoteDot(d.label(i)), shape)
	}
	d.nodes(node, func(n int, family string) {
		console.Writef(w, "  subgraph cluster_%d {\n    label=%s;\n", n, quoteDot(family))
	}, func() { console.Writeln(w, "  }") })
	for _, e := range d.edges {
		style := ""
		if e.optional {
			style = " [style=dashed]"
		}
		console.Writef(w, "  m%d -> m%d%s;\n", e.from, e.to, style)
	}
	console.Writeln(w, "}")
}

func quoteDot(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(safetext.Line(s)) + `"`
}

func (d *drawing) mermaid(w io.Writer) {
	console.Writeln(w, "flowchart LR")
	node := func(indent string, i int) {
		left, right := "[", "]"
		if d.p.Modules[i].Dynamic != nil {
			left, right = "[[", "]]"
		}
		console.Writef(w, "%sm%d%s%s%s\n", indent, i, left, quoteMermaid(d.label(i)), right)
	}
	d.nodes(node, func(n int, family string) {
		console.Writef(w, "  subgraph f%d[%s]\n", n, quoteMermaid(family))
	}, func() { console.Writeln(w, "  end") })
	for _, e := range d.edges {
		arrow := "-->"
		if e.optional {
			arrow = "-.->"
		}
		console.Writef(w, "  m%d %s m%d\n", e.from, arrow, e.to)
	}
}

// mermaidCodes escape the characters that have a meaning in Mermaid: ends of text, HTML,
// Markdown and directives.
var mermaidCodes = strings.NewReplacer(`"`, "#quot;", "#", "#35;", "<", "#lt;", ">", "#gt;", "&", "#amp;", "`", "#96;", "%", "#37;")

func quoteMermaid(s string) string {
	return `"` + mermaidCodes.Replace(safetext.Line(s)) + `"`
}

// Dot writes the graph of a pipeline for Graphviz.
func Dot(w io.Writer, p *pipeline.Pipeline) { newDrawing(p).dot(w) }

// Mermaid writes the graph of a pipeline for Mermaid.
func Mermaid(w io.Writer, p *pipeline.Pipeline) { newDrawing(p).mermaid(w) }

// SVG writes a picture of a pipeline: with the statuses of the run in rep, or with
// the durations of modules in earlier runs. Both may be nil.
func SVG(w io.Writer, p *pipeline.Pipeline, rep *report.Report, took map[string]time.Duration) {
	pic := newPicture(newDrawing(p), rep, took)
	b := pic.inBoxes()
	pic.svg(w, b, pic.head(b))
}

// HTML writes a page with the picture that SVG writes, and a table.
func HTML(w io.Writer, p *pipeline.Pipeline, rep *report.Report, took map[string]time.Duration) error {
	return newPicture(newDrawing(p), rep, took).html(w)
}
