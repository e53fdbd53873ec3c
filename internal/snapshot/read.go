package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/modpipe/modpipe/internal/tree"
)

// read makes the tree of the listed paths: those that exist, without what
// exclude and .modpipeignore remove.
func (t *taking) read(ctx context.Context, ignored map[string]bool) error {
	leave := func(p string) bool { return inGitDir(p) || ignored[p] || t.excluded.Match(p) }
	all := &tally{maxBytes: t.MaxBytes, maxFiles: t.MaxFiles}
	if t.rev != nil {
		t.rev.choose(leave, all)
	}
	for i := range t.sources {
		t.sources[i].choose(leave)
	}
	var parts []tree.Named
	if t.rev != nil && !all.over() {
		part, err := t.readRev(ctx)
		if err != nil {
			return err
		}
		parts = append(parts, tree.Named{Name: "the commit", Tree: part})
	}
	for i := range t.sources {
		part, err := t.readSource(ctx, &t.sources[i], all)
		if err != nil {
			return err
		}
		parts = append(parts, part)
	}
	if err := all.check(); err != nil {
		return err
	}
	merged := parts[0].Tree
	if len(parts) > 1 {
		var err error
		if merged, err = tree.Merge(parts...); err != nil {
			return fmt.Errorf("workspace.also: %w", err)
		}
	}
	t.Tree, t.Bytes = merged, merged.Size()
	return nil
}

// choose drops what is to be left out.
func (s *source) choose(leave func(string) bool) {
	slices.Sort(s.paths)
	s.paths = slices.DeleteFunc(slices.Compact(s.paths), func(p string) bool { return leave(path.Join(s.at, p)) })
}

// readSource takes the chosen paths of s. Above the limits it only counts.
func (t *taking) readSource(ctx context.Context, s *source, all *tally) (part tree.Named, err error) {
	part.Name = s.dir
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return part, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	index := t.indexOf(s.dir)
	part.Tree, err = tree.Take(ctx, root, tree.TakeOptions{
		Paths: func(yield func(string, error) bool) {
			for _, p := range s.paths {
				if !yield(p, nil) {
					return
				}
			}
		},
		Found: func(p string, size int64) bool {
			all.add(path.Join(s.at, p), size)
			return !all.over()
		},
		SkipGit: true, Index: index, Keep: t.Keep,
	})
	if err != nil {
		return part, err
	}
	if index != nil {
		if err := index.Save(); err != nil {
			t.warn("the next snapshot reads every file again: %v", err)
		}
	}
	part.Tree, err = part.Tree.Below(s.at)
	return part, err
}

// indexOf returns the index of a directory, which may be open already.
func (t *taking) indexOf(dir string) *tree.Index {
	if dir == t.Dir && t.opened != nil {
		return t.opened
	}
	index, err := openIndex(t.IndexDir, dir)
	if err != nil {
		t.warn("every file is read: %v", err)
	}
	return index
}

// openIndex opens the index of a directory, which its real path names. Without an
// index every file is read, which costs time only.
func openIndex(within, dir string) (*tree.Index, error) {
	if within == "" {
		return nil, nil
	}
	if err := os.MkdirAll(within, 0o700); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(dir))
	return tree.OpenIndex(filepath.Join(within, hex.EncodeToString(sum[:16])+".index"))
}
