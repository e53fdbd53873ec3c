package cli

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/modpipe/modpipe/pipeline"
)

func (a *app) graphCommand() *cobra.Command {
	s := &source{}
	cmd := &cobra.Command{
		Use: "graph FILE", Short: "Draw the pipeline, for Graphviz or Mermaid", ValidArgsFunction: a.completeFile,
		Annotations: map[string]string{outputsOf: "dot,mermaid"},
		Long:        "Draw the pipeline as text: -o dot (the default) for Graphviz, -o mermaid for Markdown.\nOptional needs are dashed; members of a family share a box.",
	}
	s.define(cmd.Flags())
	a.completeSource(cmd)
	cmd.RunE = a.do(between(1, 1, "graph FILE"), func(_ context.Context, args []string) error {
		p, err := a.load(args[0], *s)
		if err != nil {
			return err
		}
		d := newDrawing(p)
		if a.set.output == "mermaid" {
			d.mermaid(a.Stdout)
		} else {
			d.dot(a.Stdout)
		}
		return nil
	})
	return cmd
}

// drawing is a pipeline as a picture has it: families with their members,
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
	graph := newNeedGraph(p)
	for i, m := range p.Modules {
		if m.Unselected {
			continue
		}
		if m.Family == "" || m.Dynamic != nil {
			d.alone = append(d.alone, i)
		} else {
			if !slices.Contains(d.families, m.Family) {
				d.families = append(d.families, m.Family)
			}
			d.members[m.Family] = append(d.members[m.Family], i)
		}
		for _, n := range m.Needs {
			for _, j := range graph.stand(m, n) {
				if !p.Modules[j].Unselected {
					d.edges = append(d.edges, edge{from: j, to: i, optional: n.Optional})
				}
			}
		}
	}
	return d
}

// label is what stands in a node: of a member its values, the box names the family.
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
	return firstOf(strings.Join(values, ", "), m.Name)
}

func (d *drawing) dot(w io.Writer) {
	writef(w, "digraph %s {\n  rankdir=LR;\n  node [shape=box, style=rounded];\n", quoteDot(d.p.Name))
	node := func(indent string, i int) {
		shape := ""
		if d.p.Modules[i].Dynamic != nil {
			shape = ", peripheries=2"
		}
		writef(w, "%sm%d [label=%s%s];\n", indent, i, quoteDot(d.label(i)), shape)
	}
	for _, i := range d.alone {
		node("  ", i)
	}
	for n, f := range d.families {
		writef(w, "  subgraph cluster_%d {\n    label=%s;\n", n, quoteDot(f))
		for _, i := range d.members[f] {
			node("    ", i)
		}
		writeln(w, "  }")
	}
	for _, e := range d.edges {
		style := ""
		if e.optional {
			style = " [style=dashed]"
		}
		writef(w, "  m%d -> m%d%s;\n", e.from, e.to, style)
	}
	writeln(w, "}")
}

func quoteDot(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

func (d *drawing) mermaid(w io.Writer) {
	writeln(w, "flowchart LR")
	node := func(indent string, i int) {
		left, right := "[", "]"
		if d.p.Modules[i].Dynamic != nil {
			left, right = "[[", "]]"
		}
		writef(w, "%sm%d%s%s%s\n", indent, i, left, quoteMermaid(d.label(i)), right)
	}
	for _, i := range d.alone {
		node("  ", i)
	}
	for n, f := range d.families {
		writef(w, "  subgraph f%d[%s]\n", n, quoteMermaid(f))
		for _, i := range d.members[f] {
			node("    ", i)
		}
		writeln(w, "  end")
	}
	for _, e := range d.edges {
		arrow := "-->"
		if e.optional {
			arrow = "-.->"
		}
		writef(w, "  m%d %s m%d\n", e.from, arrow, e.to)
	}
}

func quoteMermaid(s string) string {
	return `"` + strings.NewReplacer(`"`, "#quot;", "\n", " ").Replace(s) + `"`
}
