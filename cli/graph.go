package cli

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/draw"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/internal/store"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// graphOptions describe what is drawn of a pipeline.
type graphOptions struct {
	pipelineFlags
	location store.Location
	run      string
}

func graphCommand(a *app) *cobra.Command {
	o := &graphOptions{}
	cmd := &cobra.Command{
		Use: "graph FILE", Short: "Draw the pipeline, as a picture or for Graphviz or Mermaid", ValidArgsFunction: completeFile,
		Annotations: map[string]string{outputsOf: "dot,mermaid,svg,html"},
		Long: "Draw the pipeline: -o dot (the default) for Graphviz, -o mermaid for Markdown, -o svg as a picture,\n" +
			"-o html as a page with the picture and a table. Optional needs are dashed; members of a family share a box.\n\n" +
			"A picture marks the critical path, the longest chain of needs: by what earlier runs took, or with --run by\n" +
			"what that run took. It then shows how the modules of the run ended, in the graph that the run had.",
	}
	o.pipelineFlags.define(cmd.Flags())
	defineLocation(cmd.Flags(), &o.location, "whose earlier runs to ask (default: the git work tree that holds FILE, else FILE's directory)")
	settings.TextFlag(cmd.Flags(), &o.run, "run", "", "RUN", "", "show how this run ended, \"latest\" for the newest (-o svg, -o html)")
	_ = cmd.RegisterFlagCompletionFunc("run", func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return completeRuns(a, &o.location)(cmd, nil, word)
	})
	completeSelection(a, cmd)
	cmd.RunE = a.do(between(1, 1, "graph FILE"), func(ctx context.Context, args []string) error {
		p, err := loadUntilSignal(ctx, a, args[0], o.pipelineFlags)
		if err != nil {
			return err
		}
		if a.set.Output == "svg" || a.set.Output == "html" {
			return paintGraph(ctx, a, o, args[0], p)
		}
		return a.untilSignal(ctx, func() error {
			if a.set.Output == "mermaid" {
				draw.Mermaid(a.Stdout, p)
			} else {
				draw.Dot(a.Stdout, p)
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
func paintGraph(ctx context.Context, a *app, o *graphOptions, file string, p *pipeline.Pipeline) error {
	graph, rep, took, err := graphFacts(ctx, a, o, file, p)
	if err != nil {
		return err
	}
	return a.untilSignal(ctx, func() error {
		if a.set.Output == "html" {
			return draw.HTML(a.Stdout, graph, rep, took)
		}
		draw.SVG(a.Stdout, graph, rep, took)
		return nil
	})
}

// facts are what a picture shows: the graph, and the run of it or how long modules have taken.
func graphFacts(ctx context.Context, a *app, o *graphOptions, file string, p *pipeline.Pipeline) (graph *pipeline.Pipeline, rep *report.Report, took map[string]time.Duration, err error) {
	if o.run == "" {
		return p, nil, historyOf(ctx, a, o.location, file, p.Name), nil
	}
	s, err := a.sessions.OpenFor(ctx, o.location, filepath.Dir(a.path(file)))
	if err != nil {
		return nil, nil, nil, err
	}
	defer s.Close()
	run, err := findRun(ctx, s.Conn, o.run)
	if err != nil {
		return nil, nil, nil, err
	}
	graph, rep, err = client.New(s.Conn).Graph(ctx, run)
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
