package cli

import (
	"cmp"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/safetext"
	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/internal/store"
	"github.com/modpipe/modpipe/internal/waves"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// graphOptions say what is drawn of a pipeline.
type graphOptions struct {
	source   source
	location store.Location
	run      string
}

func (a *app) graphCommand() *cobra.Command {
	o := &graphOptions{}
	cmd := &cobra.Command{
		Use: "graph FILE", Short: "Draw the pipeline, as a picture or for Graphviz or Mermaid", ValidArgsFunction: a.completeFile,
		Annotations: map[string]string{outputsOf: "dot,mermaid,svg,html"},
		Long: "Draw the pipeline: -o dot (the default) for Graphviz, -o mermaid for Markdown, -o svg as a picture,\n" +
			"-o html as a page with the picture and a table. Optional needs are dashed; members of a family share a box.\n\n" +
			"A picture marks the critical path, the longest chain of needs: by what earlier runs took, or with --run by\n" +
			"what that run took. It then shows how the modules of the run ended, in the graph that the run had.",
	}
	o.source.define(cmd.Flags())
	defineLocation(cmd.Flags(), &o.location, "whose earlier runs to ask (default: the git work tree that holds FILE, else FILE's directory)")
	settings.TextFlag(cmd.Flags(), &o.run, "run", "", "RUN", "", "show how this run ended, \"latest\" for the newest (-o svg, -o html)")
	_ = cmd.RegisterFlagCompletionFunc("run", func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return a.completeRuns(&o.location)(cmd, nil, word)
	})
	a.completeSource(cmd)
	cmd.RunE = a.do(between(1, 1, "graph FILE"), func(ctx context.Context, args []string) error {
		p, err := a.loadUntilSignal(ctx, args[0], o.source)
		if err != nil {
			return err
		}
		if a.set.Output == "svg" || a.set.Output == "html" {
			return a.paintGraph(ctx, o, args[0], p)
		}
		return a.untilSignal(ctx, func() error {
			if a.set.Output == "mermaid" {
				newDrawing(p).mermaid(a.Stdout)
			} else {
				newDrawing(p).dot(a.Stdout)
			}
			return nil
		})
	}, func() []string {
		if o.run != "" && a.set.Output != "svg" && a.set.Output != "html" {
			return []string{"--run" + a.bind.FromOf("run") + ": only -o svg and -o html show a run"}
		}
		return nil
	})
	return cmd
}

// paintGraph writes the pipeline, or a run of it, as a picture.
func (a *app) paintGraph(ctx context.Context, o *graphOptions, file string, p *pipeline.Pipeline) error {
	graph, rep, took, err := a.facts(ctx, o, file, p)
	if err != nil {
		return err
	}
	return a.untilSignal(ctx, func() error {
		pic := newPicture(newDrawing(graph), rep, took)
		if a.set.Output == "html" {
			return pic.html(a.Stdout)
		}
		b := pic.inBoxes()
		pic.svg(a.Stdout, b, pic.head(b))
		return nil
	})
}

// facts are what a picture shows: the graph, and the run of it or how long modules have taken.
func (a *app) facts(ctx context.Context, o *graphOptions, file string, p *pipeline.Pipeline) (graph *pipeline.Pipeline, rep *report.Report, took map[string]time.Duration, err error) {
	if o.run == "" {
		return p, nil, a.history(ctx, o.location, file, p.Name), nil
	}
	s, err := a.sessions.OpenFor(ctx, o.location, filepath.Dir(a.path(file)))
	if err != nil {
		return nil, nil, nil, err
	}
	defer s.Close()
	graph, rep, err = pastRun(ctx, s, o.run)
	switch {
	case errors.Is(err, broker.ErrNotFound):
		return nil, nil, nil, exit.NotFoundf("there is no run %s here; `orchestrator runs list` shows those that are", o.run)
	case err != nil:
		return nil, nil, nil, err
	case graph.Name != p.Name:
		return nil, nil, nil, exit.NotFoundf("run %s is one of the pipeline %q, and %s holds %q", rep.Run, graph.Name, file, p.Name)
	}
	return graph, rep, nil, nil
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
	return cmp.Or(strings.Join(values, ", "), m.Name)
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
	for _, i := range d.alone {
		node("  ", i)
	}
	for n, f := range d.families {
		console.Writef(w, "  subgraph cluster_%d {\n    label=%s;\n", n, quoteDot(f))
		for _, i := range d.members[f] {
			node("    ", i)
		}
		console.Writeln(w, "  }")
	}
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
	for _, i := range d.alone {
		node("  ", i)
	}
	for n, f := range d.families {
		console.Writef(w, "  subgraph f%d[%s]\n", n, quoteMermaid(f))
		for _, i := range d.members[f] {
			node("    ", i)
		}
		console.Writeln(w, "  end")
	}
	for _, e := range d.edges {
		arrow := "-->"
		if e.optional {
			arrow = "-.->"
		}
		console.Writef(w, "  m%d %s m%d\n", e.from, arrow, e.to)
	}
}

// mermaidCodes are for what a label could say to Mermaid: ends of text, HTML,
// Markdown and directives.
var mermaidCodes = strings.NewReplacer(`"`, "#quot;", "#", "#35;", "<", "#lt;", ">", "#gt;", "&", "#amp;", "`", "#96;", "%", "#37;")

func quoteMermaid(s string) string {
	return `"` + mermaidCodes.Replace(safetext.Line(s)) + `"`
}
