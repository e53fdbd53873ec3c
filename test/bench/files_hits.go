package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe"
	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/cli"
	"github.com/modpipe/modpipe/internal/natsembed"
	"github.com/modpipe/modpipe/kv"
	modreport "github.com/modpipe/modpipe/report"
)

// hits is work H: modules of which each has a cached result, in one process. The floor
// reads their entries.
func (f *filesFigures) hits(dir string, scale int) error {
	n := 10_000 / scale
	row := filesRow{Work: fmt.Sprintf("%d modules with cached results", n), Floor: "reading their entries", Target: "≤ 2, 1 s"}
	var raw rawFigures // Send is the run, and Back the floor
	if err := self(&raw, "files-hits", dir, fmt.Sprint(n)); err != nil {
		return err
	}
	row.Send, row.FloorSend = raw.Send, raw.Back
	row.compare(true)
	f.Rows = append(f.Rows, row)
	return nil
}

// cached defines n modules with a result that is kept.
func cached(n int) func(*modpipe.Builder) {
	return func(b *modpipe.Builder) {
		for i := range n {
			name := fmt.Sprintf("m%d", i)
			modpipe.Add(b, name, modpipe.Call(nothing), modpipe.Version("v1"), modpipe.Cache{Key: []string{name}, Portable: true})
		}
	}
}

// filesHits runs modules twice, and reads their entries: `files-hits DIR MODULES`.
func filesHits(args []string) error {
	ctx := context.Background()
	var n int
	if _, err := fmt.Sscan(args[1], &n); err != nil {
		return err
	}
	w := work{name: "hits", modules: n, define: cached(n)}
	o := cli.Options{Store: filepath.Join(args[0], "store"), Workspace: args[0], MaxParallel: 2 * slotsEach}
	if _, err := runOnce(ctx, w, o); err != nil {
		return err
	}
	stop, err := profile(".hits")
	if err != nil {
		return err
	}
	clock := watch(nil)
	r, err := cli.Run(ctx, "bench-"+w.name, w.define, o)
	if err != nil {
		return err
	}
	figures := rawFigures{Send: clock.read()}
	figures.Send.Seconds = r.Duration // as in runOnce
	stop()
	for _, m := range r.Modules {
		if m.Status != modreport.Cached {
			return fmt.Errorf("module %s is %s", m.Name, m.Status)
		}
	}
	if figures.Back, err = readEntries(ctx, o.Store, n); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(figures)
}

// readEntries reads all cached results of a store, 64 at a time.
func readEntries(ctx context.Context, store string, n int) (took spent, err error) {
	s, err := natsembed.Start(natsembed.Config{Store: filepath.Join(store, "nats")})
	if err != nil {
		return took, err
	}
	defer s.Close()
	conn, err := broker.Connect(ctx, broker.Config{URL: s.URL(), Options: s.Options()})
	if err != nil {
		return took, err
	}
	defer conn.Close()
	cache, err := kv.OpenCache(ctx, conn.Conn)
	if err != nil {
		return took, err
	}
	entries, err := cache.List(ctx, "*")
	if err == nil && len(entries) != n {
		err = fmt.Errorf("there are %d entries of %d results", len(entries), n)
	}
	if err != nil {
		return took, err
	}
	w := watch(nil)
	var g errgroup.Group
	g.SetLimit(64)
	for _, e := range entries {
		g.Go(func() error {
			_, err := cache.Read(ctx, e.Namespace, e.Fingerprint)
			return err
		})
	}
	err = g.Wait()
	return w.read(), err
}
