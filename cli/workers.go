package cli

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/safetext"
	"github.com/modpipe/modpipe/internal/store"
	"github.com/modpipe/modpipe/internal/tables"
	"github.com/modpipe/modpipe/jobs"
)

func workersCommand(a *app) *cobra.Command {
	p := &store.Location{}
	cmd := &cobra.Command{Use: "workers", Short: "List workers, and drain them"}
	a.group(cmd)
	defineLocation(cmd.PersistentFlags(), p, workspaceRead)
	cmd.AddCommand(workersListCommand(a, p), workersDrainCommand(a, p))
	return cmd
}

func workersListCommand(a *app, p *store.Location) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the live workers",
		RunE: a.do(between(0, 0, "workers list"), func(ctx context.Context, _ []string) error {
			rows := []tables.Worker{}
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
				rows = append(rows, tables.NewWorker(&workers[i]))
			}
			return showWorkers(a, rows)
		}),
	}
}

func showWorkers(a *app, rows []tables.Worker) error {
	return a.emit(rows, func(w io.Writer) { tables.WriteWorkers(w, rows) }, func(w io.Writer) {
		for _, r := range rows {
			console.Writeln(w, safetext.Line(r.Name))
		}
	})
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
