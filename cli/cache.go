package cli

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/flags"
	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/internal/store"
	"github.com/modpipe/modpipe/internal/tables"
)

func cacheCommand(a *app) *cobra.Command {
	p := &store.Location{}
	cmd := &cobra.Command{Use: "cache", Short: "List cached results and cache directories, explain results, and remove them"}
	a.group(cmd)
	defineLocation(cmd.PersistentFlags(), p, workspaceRead)
	cmd.AddCommand(cacheListCommand(a, p), cacheExplainCommand(a, p), cachePruneCommand(a, p))
	return cmd
}

func cacheListCommand(a *app, p *store.Location) *cobra.Command {
	var namespace string
	cmd := &cobra.Command{Use: "list", Short: "List the cached results and cache directories, the least recently used first"}
	flags.Namespace(cmd.Flags(), &namespace, "list this namespace only")
	cmd.RunE = a.do(between(0, 0, "cache list"), func(ctx context.Context, _ []string) error {
		if faults := flags.NamespaceFaults(a.bind, namespace); len(faults) > 0 {
			return exit.Usagef("%s", faults[0])
		}
		s, err := a.open(ctx, *p)
		if err != nil {
			return err
		}
		defer s.Close()
		found, err := client.New(s.Conn).Cached(ctx, namespace)
		if err != nil {
			return err
		}
		rows := tables.NewCacheRows(found.Results, found.Dirs)
		return a.emit(rows, func(w io.Writer) { tables.WriteCacheRows(w, rows) }, func(w io.Writer) { tables.WriteCacheNames(w, rows) })
	})
	return cmd
}

func cachePruneCommand(a *app, p *store.Location) *cobra.Command {
	var namespace string
	var unused time.Duration
	cmd := &cobra.Command{
		Use: "prune", Short: "Remove cached results and cache directories that no run has used lately",
		Long: `Remove cached results and cache directories that no run has used lately. Their
files are removed later, when nothing else refers to them. A run that needs a
removed result executes the module again.`,
	}
	flags.Namespace(cmd.Flags(), &namespace, "remove from this namespace only")
	settings.TimeFlag(cmd.Flags(), &unused, "unused", 0, 0, 0, "remove what no run has used for this time, to a day; 0 = everything")
	cmd.RunE = a.do(between(0, 0, "cache prune"), func(ctx context.Context, _ []string) error {
		if faults := flags.NamespaceFaults(a.bind, namespace); len(faults) > 0 {
			return exit.Usagef("%s", faults[0])
		}
		s, err := a.open(ctx, *p)
		if err != nil {
			return err
		}
		defer s.Close()
		n, err := client.New(s.Conn).PruneCache(ctx, namespace, time.Now().Add(-unused))
		if err != nil {
			return err
		}
		console.Writeln(a.Stdout, tables.PrunedText(n))
		return nil
	})
	return cmd
}

func cacheExplainCommand(a *app, p *store.Location) *cobra.Command {
	return &cobra.Command{
		Use: "explain RUN MODULE", Short: "Explain why a module of a run was executed, or where its result comes from",
		Long: `Explain why a module of a run was executed, or where its result comes from.

For a module that was executed it names what differs from the cached result that
differs least: the part of the fingerprint, and in it the variable, the output or the
file.`,
		RunE: a.do(between(2, 2, "cache explain RUN MODULE"), func(ctx context.Context, args []string) error {
			s, err := a.open(ctx, *p)
			if err != nil {
				return err
			}
			defer s.Close()
			run, err := findRun(ctx, s.Conn, args[0])
			if err != nil {
				return err
			}
			use, err := client.New(s.Conn).ExplainCache(ctx, run, args[1])
			switch {
			case errors.Is(err, broker.ErrNotFound):
				return noRunError(run)
			case errors.Is(err, client.ErrNoModule), errors.Is(err, client.ErrNotCached):
				return exit.NotFoundf("run %s: %w", run, err)
			case err != nil:
				return err
			}
			v := newCacheUse(&use)
			return a.emit(v, func(w io.Writer) { v.Write(w) }, func(w io.Writer) {
				if v.Entry != nil {
					console.Writeln(w, v.Entry.Namespace+"."+v.Entry.Fingerprint)
				}
			})
		}),
	}
}

// newCacheUse describes what a module of a run had to do with the cache.
func newCacheUse(use *client.CacheUse) tables.CacheUse {
	v := tables.CacheUse{Run: use.Run, Module: use.Module, Status: use.Status, Hit: use.Hit}
	if use.Entry != nil {
		row := tables.NewCacheRow(use.Entry)
		v.Entry = &row
	}
	if use.Nearest != nil {
		row := tables.NewCacheRow(use.Nearest)
		v.Nearest = &row
	}
	for _, d := range use.Differs {
		v.Differs = append(v.Differs, tables.CacheDifference{Part: d.Part, Item: d.Item, Kind: string(d.Kind)})
	}
	for _, f := range use.Files {
		v.Files = append(v.Files, f.String())
	}
	return v
}
