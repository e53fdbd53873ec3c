package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/safetext"
	"github.com/modpipe/modpipe/internal/store"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

func workersCommand(a *app) *cobra.Command {
	p := &store.Location{}
	cmd := &cobra.Command{Use: "workers", Short: "List workers, and drain them"}
	a.group(cmd)
	defineLocation(cmd.PersistentFlags(), p, workspaceRead)
	cmd.AddCommand(workersListCommand(a, p), workersDrainCommand(a, p))
	return cmd
}

// workerRow is a worker as -o json has it.
type workerRow struct {
	Name     string            `json:"name"`
	Host     string            `json:"host"`
	PID      int               `json:"pid"`
	Version  string            `json:"version"`
	Slots    int               `json:"slots"`
	Used     int               `json:"used"`
	Draining bool              `json:"draining"`
	Unable   string            `json:"unable,omitempty"` // why it takes no attempts
	Started  time.Time         `json:"started"`
	Running  []workerRun       `json:"running"`
	Offers   capabilitiesShown `json:"capabilities"`
}

type workerRun struct {
	Run     jobs.RunID    `json:"run"`
	Module  jobs.ModuleID `json:"token"`
	Attempt jobs.Attempt  `json:"attempt"`
}

// capabilitiesShown are capabilities as -o json has them.
type capabilitiesShown struct {
	OS      string            `json:"os"`
	Arch    string            `json:"arch"`
	CPUs    int               `json:"cpus"`
	Memory  int64             `json:"memory"`
	Program *programShown     `json:"program,omitempty"` // whose Go functions it has
	Tools   map[string]string `json:"tools"`
	Tags    []string          `json:"tags"`
	Labels  map[string]string `json:"labels"`
}

// programShown is a program as -o json has it: digests are of its executable,
// and of the graph that its definition makes.
type programShown struct {
	Name  string `json:"name"`
	Build string `json:"build"`
	Graph string `json:"graph"`
}

func showCapabilities(c jobs.Capabilities) capabilitiesShown {
	s := capabilitiesShown{c.OS, c.Arch, c.CPUs, c.Memory, (*programShown)(c.Program), c.Tools, c.Tags, c.Labels}
	if s.Tools == nil {
		s.Tools = map[string]string{}
	}
	if s.Tags == nil {
		s.Tags = []string{}
	}
	if s.Labels == nil {
		s.Labels = map[string]string{}
	}
	return s
}

func newWorkerRow(w *jobs.WorkerInfo) workerRow {
	row := workerRow{
		Name: w.Name, Host: w.Host, PID: w.PID, Version: w.Version, Slots: w.Slots, Used: w.Used,
		Draining: w.Draining, Unable: w.Unable, Started: w.Started, Running: []workerRun{}, Offers: showCapabilities(w.Capabilities),
	}
	for _, r := range w.Running {
		row.Running = append(row.Running, workerRun{Run: r.Run, Module: r.Module, Attempt: r.Attempt})
	}
	return row
}

func workersListCommand(a *app, p *store.Location) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the live workers",
		RunE: a.do(between(0, 0, "workers list"), func(ctx context.Context, _ []string) error {
			rows := []workerRow{}
			s, err := a.open(ctx, *p)
			if errors.Is(err, store.ErrNone) {
				console.Writeln(a.Stderr, err)
				return showWorkers(a, rows)
			}
			if err != nil {
				return err
			}
			defer s.Close()
			if s.Dead {
				return showWorkers(a, rows) // no other worker can be on this server
			}
			workers, err := client.New(s.Conn).Workers(ctx)
			if err != nil {
				return err
			}
			for i := range workers {
				rows = append(rows, newWorkerRow(&workers[i]))
			}
			return showWorkers(a, rows)
		}),
	}
}

func showWorkers(a *app, rows []workerRow) error {
	return a.emit(rows, func(w io.Writer) {
		g := console.Table{Head: []string{"NAME", "SLOTS", "OS/ARCH", "PROGRAM", "TAGS", "LABELS", "VERSION", "RUNNING"}}
		for _, r := range rows {
			g.Add(r.Name, fmt.Sprintf("%d/%d", r.Used, r.Slots), r.Offers.OS+"/"+r.Offers.Arch, programText(r, rows),
				phrase.OrDash(strings.Join(r.Offers.Tags, ",")), phrase.OrDash(phrase.Labels(r.Offers.Labels)), phrase.OrDash(r.Version), runningText(r))
		}
		g.Write(w)
	}, func(w io.Writer) {
		for _, r := range rows {
			console.Writeln(w, safetext.Line(r.Name))
		}
	})
}

// programText is the program of a worker, and which graph it has where
// another worker's program has a different one.
func programText(of workerRow, all []workerRow) string {
	p := of.Offers.Program
	if p == nil {
		return "-"
	}
	text := pipeline.Program(*p).String()
	if slices.ContainsFunc(all, func(r workerRow) bool {
		other := r.Offers.Program
		return other != nil && other.Build == p.Build && other.Graph != p.Graph
	}) {
		text += " (graph " + pipeline.Short(p.Graph) + ")"
	}
	return text
}

func runningText(r workerRow) string {
	var parts []string
	for _, x := range r.Running {
		parts = append(parts, fmt.Sprintf("%s/%s", x.Run, x.Module))
	}
	text := phrase.OrDash(strings.Join(parts, " "))
	if r.Unable != "" {
		text += " (takes no attempts: " + r.Unable + ")"
	}
	if r.Draining {
		return "draining: " + text
	}
	return text
}

func workersDrainCommand(a *app, p *store.Location) *cobra.Command {
	return &cobra.Command{
		Use: "drain NAME", Short: "Let a worker finish what it runs, and leave", ValidArgsFunction: completeWorkers(a, p),
		RunE: a.do(between(1, 1, "workers drain NAME"), func(ctx context.Context, args []string) error {
			s, err := a.open(ctx, *p)
			if err != nil {
				return err
			}
			defer s.Close()
			c := client.New(s.Conn)
			workers, err := c.Workers(ctx)
			if err != nil {
				return err
			}
			err = c.Drain(ctx, args[0], startedBy(a))
			switch {
			case errors.Is(err, broker.ErrNotFound):
				return exit.NotFoundf("there is no worker %q%s", args[0], phrase.DidYouMean(args[0], workerNames(workers)))
			case errors.Is(err, client.ErrNoAnswer):
				return exit.Infrastructuref("%w", err)
			case err != nil:
				return err
			}
			console.Writef(a.Stderr, "worker %s drains\n", args[0])
			return nil
		}),
	}
}

func workerNames(workers []jobs.WorkerInfo) []string {
	names := map[string]bool{}
	for i := range workers {
		names[workers[i].Name] = true
	}
	return slices.Sorted(maps.Keys(names))
}
