package files

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/modpipe/modpipe/internal/filestore"
	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/jobs"
)

// restore writes the artifacts that the module consumes. Two artifacts with
// different contents at one path are an error that names both.
func (d *Directory) restore(ctx context.Context) error {
	restores := slices.DeleteFunc(slices.Clone(d.files.Restore), func(r jobs.Restore) bool { return r.Open })
	parts := make([]tree.Named, 0, len(restores))
	for _, r := range restores {
		t, err := d.fetch(ctx, r.Tree, false, nil)
		if err == nil && r.To != "" {
			t, err = t.Below(r.To)
		}
		if err != nil {
			return fmt.Errorf("fetch %s: %w", describe(r), err)
		}
		if path := ofGit(t); path != "" && !d.own {
			return fmt.Errorf("%s holds %q: nothing is written to a .git directory of a workspace", describe(r), path)
		}
		parts = append(parts, tree.Named{Name: describe(r), Tree: t})
	}
	if _, err := tree.Merge(parts...); err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	for i, r := range restores {
		if err := d.restoreOne(ctx, r, parts[i].Tree); err != nil {
			return fmt.Errorf("restore %s: %w", describe(r), err)
		}
	}
	d.declare(ctx, parts)
	return nil
}

// restoreOne writes an artifact. Content that turns out to be damaged in the store of
// the machine is fetched again.
func (d *Directory) restoreOne(ctx context.Context, r jobs.Restore, t *tree.Tree) error {
	for try := 1; ; try++ {
		err := d.write(ctx, t, r.Tree.Time)
		if err == nil || !errors.Is(err, filestore.ErrMissing) {
			return err
		}
		if try == fetchTries {
			return lostAgain(err)
		}
		d.verify(ctx, t)
		if _, err := d.fetch(ctx, r.Tree, false, nil); err != nil {
			return err
		}
	}
}

// ofGit names a file of a tree that belongs to git, whose hooks and configuration
// name programs; "" = no file does.
func ofGit(t *tree.Tree) string {
	for _, f := range t.Files {
		for name := range strings.SplitSeq(f.Path, "/") {
			if strings.EqualFold(name, ".git") {
				return f.Path
			}
		}
	}
	return ""
}

func describe(r jobs.Restore) string { return fmt.Sprintf("artifact %s of %s", r.Name, r.Module) }
