package snapshot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"

	"github.com/modpipe/modpipe/internal/tree"
)

// leave returns the rule for what is left out.
func (t *taking) leave(ignored map[string]bool) func(string) bool {
	return func(p string) bool { return inGitDir(p) || ignored[p] || t.excluded.Match(p) }
}

// read makes the tree of the listed paths: those that exist, without what
// exclude and .modpipeignore remove.
func (t *taking) read(ctx context.Context, ignored map[string]bool) error {
	leave := t.leave(ignored)
	if t.rev != nil {
		t.rev.choose(leave, &t.tally)
	}
	for i := range t.sources {
		t.sources[i].choose(leave)
	}
	parts, err := t.parts(ctx)
	if err != nil {
		return err
	}
	if err := t.tally.check(); err != nil {
		return err
	}
	if t.Tree, err = merge(parts); err != nil {
		return err
	}
	t.Bytes = t.Tree.Size()
	for _, index := range t.indexes {
		if err := index.Save(); err != nil {
			t.warn("the next snapshot reads every file again: %v", err)
		}
	}
	return nil
}

// parts takes what the sources name. Above the limits it only counts.
func (t *taking) parts(ctx context.Context) ([]tree.Named, error) {
	var parts []tree.Named
	if t.rev != nil && !t.tally.over() {
		part, err := t.readRev(ctx)
		if err != nil {
			return nil, err
		}
		parts = append(parts, tree.Named{Name: "the commit", Tree: part})
	}
	if t.early != nil {
		parts = append(parts, tree.Named{Name: t.Dir, Tree: t.early})
	}
	for i := range t.sources {
		s := &t.sources[i]
		if s.dir == t.Dir && s.at == "" {
			s.paths = slices.DeleteFunc(s.paths, func(p string) bool {
				_, taken := slices.BinarySearch(t.taken, p)
				return taken
			})
		}
		part, err := t.readSource(ctx, s)
		if err != nil {
			return nil, err
		}
		if part.Tree.Len() > 0 {
			parts = append(parts, part)
		}
	}
	return parts, nil
}

func merge(parts []tree.Named) (*tree.Tree, error) {
	switch len(parts) {
	case 0:
		return &tree.Tree{}, nil
	case 1:
		return parts[0].Tree, nil
	}
	merged, err := tree.Merge(parts...)
	if err != nil {
		return nil, fmt.Errorf("put the parts of the snapshot together: %w", err)
	}
	return merged, nil
}

// choose drops what is to be left out.
func (s *source) choose(leave func(string) bool) {
	slices.Sort(s.paths)
	s.paths = slices.DeleteFunc(slices.Compact(s.paths), func(p string) bool { return leave(path.Join(s.at, p)) })
}

// readSource takes the chosen paths of s. Above the limits it only counts.
func (t *taking) readSource(ctx context.Context, s *source) (part tree.Named, err error) {
	part.Name = s.dir
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return part, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	part.Tree, err = tree.Take(ctx, root, tree.TakeOptions{
		Paths: func(yield func(string, error) bool) {
			for _, p := range s.paths {
				if !yield(p, nil) {
					return
				}
			}
		},
		Found: func(p string, size int64) bool {
			t.tally.add(path.Join(s.at, p), size)
			return !t.tally.over()
		},
		SkipGit: true, Index: t.index(s.dir), Keep: t.Keep,
	})
	if err != nil {
		return part, err
	}
	part.Tree, err = part.Tree.Below(s.at)
	return part, err
}

// index opens the index of a directory, whose name is made of its real path.
// Without an index every file is read, which costs time only.
func (t *taking) index(dir string) *tree.Index {
	if index := t.indexes[dir]; index != nil || t.IndexDir == "" {
		return index
	}
	err := os.MkdirAll(t.IndexDir, 0o700)
	if err == nil {
		var index *tree.Index
		if index, err = tree.OpenIndex(IndexFile(t.IndexDir, dir)); err == nil {
			t.indexes[dir] = index
			return index
		}
	}
	t.warn("every file is read: %v", err)
	return nil
}
