package checkout

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/modpipe/modpipe/internal/snapshot"
	"github.com/modpipe/modpipe/internal/transfer"
	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/internal/workspace"
)

const (
	compareTimeout  = time.Minute     // of one comparison, beside an attempt
	comparePatience = 5 * time.Second // after the end of the attempt
	mostNamed       = 3               // files in a warning
)

// compareBeside compares the workspace beside the first attempt of a run. When the
// attempt ends much earlier, the next attempt of the run continues with what
// the index remembers.
func (c *Checkout) compareBeside(ctx context.Context, of workspace.Visit) (leave func() string) {
	if !c.first(of.Run) {
		return func() string { return "" }
	}
	ctx, cancel := context.WithTimeout(ctx, compareTimeout)
	found := make(chan string, 1) // the goroutine ends without a reader
	go func() {
		text, err := c.compare(ctx, of)
		if err != nil {
			c.forget(of.Run)
		}
		found <- text
	}()
	return func() string {
		defer cancel()
		late := time.AfterFunc(comparePatience, cancel)
		defer late.Stop()
		return <-found
	}
}

// compare says how the workspace differs from a snapshot.
func (c *Checkout) compare(ctx context.Context, of workspace.Visit) (string, error) {
	here := snapshot.Commit(ctx, c.cfg.Dir)
	if here != "" && of.Commit != "" && here != of.Commit {
		return fmt.Sprintf("modules run in its workspace %s, which is at commit %.9s, and the run was submitted at %.9s: "+
			"check that commit out there, or start the worker with --workspace-sync", c.cfg.Dir, here, of.Commit), nil
	}
	store, err := c.cfg.Store(ctx)
	if err != nil {
		return "", err
	}
	want, err := transfer.Load(ctx, c.cfg.Remote, of.Snapshot)
	if err != nil {
		return "", err
	}
	index := c.index(store)
	differ, err := c.differing(ctx, want, index)
	if index != nil {
		_ = index.Save() // without it the next comparison reads more
	}
	if err != nil || len(differ) == 0 {
		return "", err
	}
	return fmt.Sprintf("modules run in its workspace %s, where %s from the snapshot of the run: %s; "+
		"update that directory, or start the worker with --workspace-sync", c.cfg.Dir, count(len(differ)), named(differ)), nil
}

func count(n int) string {
	if n == 1 {
		return "1 file differs"
	}
	return fmt.Sprintf("%d files differ", n)
}

func named(files []tree.File) string {
	var names []string
	for _, f := range files[:min(len(files), mostNamed)] {
		names = append(names, f.Path)
	}
	if len(files) > mostNamed {
		names = append(names, "…")
	}
	return strings.Join(names, ", ")
}

// differing returns the files of a tree that the workspace has not, or has otherwise.
func (c *Checkout) differing(ctx context.Context, want *tree.Tree, index *tree.Index) ([]tree.File, error) {
	root, err := os.OpenRoot(c.cfg.Dir)
	if err != nil {
		return nil, err
	}
	defer root.Close() //nolint:errcheck // it was only read
	there, err := tree.Take(ctx, root, tree.TakeOptions{Index: index, Paths: func(yield func(string, error) bool) {
		for i := range want.Files {
			if !yield(want.Files[i].Path, nil) {
				return
			}
		}
	}})
	if err != nil {
		return nil, err
	}
	return lacking(there, want), nil
}

// lacking returns the files of want that there lacks, or has otherwise.
func lacking(there, want *tree.Tree) []tree.File {
	return slices.DeleteFunc(slices.Clone(want.Files), func(f tree.File) bool {
		is, ok := there.Find(f.Path)
		return ok && is == f || f.Kind == tree.Directory && hasBelow(there, f.Path)
	})
}

// hasBelow reports whether a tree has something in a directory.
func hasBelow(t *tree.Tree, dir string) bool {
	i, _ := slices.BinarySearchFunc(t.Files, dir+"/", func(f tree.File, path string) int { return strings.Compare(f.Path, path) })
	return i < len(t.Files) && strings.HasPrefix(t.Files[i].Path, dir+"/")
}

var _ workspace.Copy = (*Checkout)(nil)
