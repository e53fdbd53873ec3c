package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/fingerprint"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/safetext"
	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/internal/store"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/report"
)

func cacheCommand(a *app) *cobra.Command {
	p := &store.Location{}
	cmd := &cobra.Command{Use: "cache", Short: "List cached results, explain them, and remove them"}
	a.group(cmd)
	defineLocation(cmd.PersistentFlags(), p, workspaceRead)
	cmd.AddCommand(cacheListCommand(a, p), cacheExplainCommand(a, p), cachePruneCommand(a, p))
	return cmd
}

// cacheRow is a cached result as -o json has it.
type cacheRow struct {
	Namespace    string     `json:"namespace"`
	Fingerprint  string     `json:"fingerprint"`
	Pipeline     string     `json:"pipeline"`
	Module       string     `json:"module"`
	Run          jobs.RunID `json:"run"` // that stored it
	By           string     `json:"by,omitempty"`
	Worker       string     `json:"worker,omitempty"`
	When         time.Time  `json:"when"`
	Used         time.Time  `json:"used"` // last, by the day
	Took         float64    `json:"took"` // seconds
	Artifacts    int        `json:"artifacts"`
	Bytes        int64      `json:"bytes"` // of the artifacts
	Hermetic     bool       `json:"hermetic"`
	Place        string     `json:"place,omitempty"`   // where alone it is valid
	Differs      string     `json:"differs,omitempty"` // it is not reproducible
	ToolVersions any        `json:"tools,omitempty"`
}

func newCacheRow(e *kv.StoredEntry) cacheRow {
	row := cacheRow{
		Namespace: e.Namespace, Fingerprint: e.Fingerprint, Pipeline: e.Pipeline, Module: e.Module, Run: e.Run, By: e.By, Worker: e.Worker,
		When: e.When, Used: e.Used, Took: e.Took.Seconds(), Artifacts: len(e.Artifacts), Hermetic: e.Hermetic, Place: e.Place, Differs: e.Differs,
	}
	if len(e.Tools) > 0 {
		row.ToolVersions = e.Tools
	}
	for _, x := range e.Artifacts {
		row.Bytes += x.Tree.Bytes
	}
	return row
}

func cacheListCommand(a *app, p *store.Location) *cobra.Command {
	var namespace string
	cmd := &cobra.Command{Use: "list", Short: "List the cached results, the least recently used first"}
	namespaceFlag(cmd.Flags(), &namespace, "list this namespace only")
	cmd.RunE = a.do(between(0, 0, "cache list"), func(ctx context.Context, _ []string) error {
		if faults := namespaceFaults(a, namespace); len(faults) > 0 {
			return exit.Usagef("%s", faults[0])
		}
		s, err := a.open(ctx, *p)
		if err != nil {
			return err
		}
		defer s.Close()
		entries, err := client.New(s.Conn).CacheEntries(ctx, namespace)
		if err != nil {
			return err
		}
		rows := make([]cacheRow, 0, len(entries))
		for i := range entries {
			rows = append(rows, newCacheRow(&entries[i]))
		}
		return a.emit(rows, func(w io.Writer) { writeCacheRows(w, rows) }, func(w io.Writer) {
			for _, r := range rows {
				console.Writeln(w, r.Namespace+"."+r.Fingerprint)
			}
		})
	})
	return cmd
}

func writeCacheRows(w io.Writer, rows []cacheRow) {
	t := console.Table{Head: []string{"NAMESPACE", "FINGERPRINT", "PIPELINE", "MODULE", "RUN", "STORED", "USED", "FILES"}}
	for _, r := range rows {
		t.Add(r.Namespace, r.Fingerprint[:min(12, len(r.Fingerprint))], r.Pipeline, r.Module, string(r.Run),
			r.When.Format(time.RFC3339), r.Used.Format(time.DateOnly), phrase.Count(r.Artifacts, "artifact"))
	}
	t.Write(w)
}

func cachePruneCommand(a *app, p *store.Location) *cobra.Command {
	var namespace string
	var unused time.Duration
	cmd := &cobra.Command{
		Use: "prune", Short: "Remove cached results that no run has used lately",
		Long: `Remove cached results that no run has used lately. Their files are removed later,
when nothing else refers to them. A run that needs a removed result executes the
module again.`,
	}
	namespaceFlag(cmd.Flags(), &namespace, "remove from this namespace only")
	settings.TimeFlag(cmd.Flags(), &unused, "unused", 0, 0, 0, "remove what no run has used for this time, to a day; 0 = everything")
	cmd.RunE = a.do(between(0, 0, "cache prune"), func(ctx context.Context, _ []string) error {
		if faults := namespaceFaults(a, namespace); len(faults) > 0 {
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
		console.Writeln(a.Stdout, "removed "+phrase.Count(n, "cached result"))
		return nil
	})
	return cmd
}

// cacheShown is the answer of `cache explain` as -o json has it.
type cacheShown struct {
	Run     jobs.RunID         `json:"run"`
	Module  string             `json:"module"`
	Status  report.Status      `json:"status"`
	Hit     *report.CachedFrom `json:"hit,omitempty"`
	Entry   *cacheRow          `json:"entry,omitempty"`   // of its result
	Nearest *cacheRow          `json:"nearest,omitempty"` // the entry that differs least
	Differs []cacheDifference  `json:"differs,omitempty"`
	Files   []string           `json:"files,omitempty"` // "+ path", "- path", "~ path"
}

type cacheDifference struct {
	Part string `json:"part"`
	Item string `json:"item,omitempty"`
	Kind string `json:"kind"`
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
			v := showCacheUse(&use)
			return a.emit(v, func(w io.Writer) { writeCacheUse(w, &v) }, func(w io.Writer) {
				if v.Entry != nil {
					console.Writeln(w, v.Entry.Namespace+"."+v.Entry.Fingerprint)
				}
			})
		}),
	}
}

func showCacheUse(use *client.CacheUse) cacheShown {
	v := cacheShown{Run: use.Run, Module: use.Module, Status: use.Status, Hit: use.Hit}
	if use.Entry != nil {
		row := newCacheRow(use.Entry)
		v.Entry = &row
	}
	if use.Nearest != nil {
		row := newCacheRow(use.Nearest)
		v.Nearest = &row
	}
	for _, d := range use.Differs {
		v.Differs = append(v.Differs, cacheDifference{d.Part, d.Item, string(d.Kind)})
	}
	for _, f := range use.Files {
		v.Files = append(v.Files, f.String())
	}
	return v
}

func writeCacheUse(w io.Writer, v *cacheShown) {
	say := func(format string, args ...any) { console.Writeln(w, safetext.Line(fmt.Sprintf(format, args...))) }
	if h := v.Hit; h != nil {
		say("%s of run %s took the result of %s of run %s, which was stored %s by %s (namespace %s)",
			v.Module, v.Run, h.Module, h.Run, h.When.Format(time.RFC3339), cmp.Or(h.By, "nobody that is known"), h.Namespace)
		say("fingerprint %s", h.Fingerprint)
		writeTools(say, v.Entry)
		return
	}
	say("%s of run %s %s", v.Module, v.Run, v.Status)
	if v.Entry == nil {
		say("no result of it is stored: it has not succeeded, the run stores none, its attempt found files that it does not declare, or the entry was removed")
		return
	}
	say("its result is stored with fingerprint %s (namespace %s)", v.Entry.Fingerprint, v.Entry.Namespace)
	writeTools(say, v.Entry)
	if v.Nearest == nil {
		say("no other result of this module is stored")
		return
	}
	say("the nearest other result is that of run %s, stored %s; it differs in:", v.Nearest.Run, v.Nearest.When.Format(time.RFC3339))
	for _, d := range v.Differs {
		if d.Part == "inputs" && d.Item == "files" && len(v.Files) > 0 {
			continue
		}
		say("  %s", differenceText(d))
	}
	for _, f := range v.Files {
		say("  input file %s", f)
	}
}

func writeTools(say func(string, ...any), e *cacheRow) {
	if e == nil {
		return
	}
	if e.ToolVersions != nil {
		say("its worker had %v", e.ToolVersions)
	}
	if e.Differs != "" {
		say("it is not reproducible: an attempt with the same fingerprint has left other %s", e.Differs)
	}
	if e.Place != "" {
		say("it is valid in %s only: its attempt found files that it does not declare", e.Place)
	}
}

func differenceText(d cacheDifference) string {
	text := d.Part
	if d.Item != "" {
		text += " " + d.Item
	}
	if d.Kind != string(fingerprint.Changed) {
		text += " (" + d.Kind + ")"
	}
	return text
}
