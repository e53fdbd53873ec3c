package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
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
	var all tally
	if t.rev != nil {
		t.rev.choose(leave, &all)
	}
	for i := range t.sources {
		if err := t.sources[i].choose(ctx, leave, &all); err != nil {
			return err
		}
	}
	if err := all.check(t.MaxBytes, t.MaxFiles); err != nil {
		return err
	}
	var parts []tree.Named
	if t.rev != nil {
		part, err := t.readRev(ctx)
		if err != nil {
			return err
		}
		parts = append(parts, tree.Named{Name: "the commit", Tree: part})
	}
	for i := range t.sources {
		part, err := t.readSource(ctx, &t.sources[i])
		if err != nil {
			return err
		}
		parts = append(parts, part)
	}
	merged, err := tree.Merge(parts...)
	if err != nil {
		return fmt.Errorf("workspace.also: %w", err)
	}
	t.Tree, t.Bytes = merged, merged.Size()
	return nil
}

// choose drops what is to be left out, and counts the rest.
func (s *source) choose(ctx context.Context, leave func(string) bool, all *tally) error {
	slices.Sort(s.paths)
	s.paths = slices.DeleteFunc(slices.Compact(s.paths), func(p string) bool { return leave(path.Join(s.at, p)) })
	for _, p := range s.paths {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		info, err := os.Lstat(filepath.Join(s.dir, filepath.FromSlash(p)))
		if err != nil {
			continue // deleted; what else is wrong tree.Take says
		}
		all.add(path.Join(s.at, p), content(info))
	}
	return nil
}

func content(info fs.FileInfo) int64 {
	if info.Mode().IsRegular() {
		return info.Size()
	}
	return 0
}

func (t *taking) readSource(ctx context.Context, s *source) (part tree.Named, err error) {
	part.Name = s.dir
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return part, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	index := t.index(s.dir)
	part.Tree, err = tree.Take(ctx, root, tree.TakeOptions{
		Paths: func(yield func(string, error) bool) {
			for _, p := range s.paths {
				if !yield(p, nil) {
					return
				}
			}
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

// index opens the index of a directory, which its real path names. Without an
// index every file is read, which costs time only.
func (t *taking) index(dir string) *tree.Index {
	if t.IndexDir == "" {
		return nil
	}
	sum := sha256.Sum256([]byte(dir))
	index, err := tree.OpenIndex(filepath.Join(t.IndexDir, hex.EncodeToString(sum[:16])+".index"))
	if err == nil {
		err = os.MkdirAll(t.IndexDir, 0o700)
	}
	if err != nil {
		t.warn("every file is read: %v", err)
		return nil
	}
	return index
}
