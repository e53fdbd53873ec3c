package files

import (
	"context"
	"fmt"

	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/jobs"
)

// restore writes the artifacts that the module consumes. Two artifacts with
// different contents at one path are an error that names both.
func (d *Directory) restore(ctx context.Context) error {
	parts := make([]tree.Named, 0, len(d.files.Restore))
	for _, r := range d.files.Restore {
		t, err := d.fetch(ctx, r.Tree, false, nil)
		if err == nil && r.To != "" {
			t, err = t.Below(r.To)
		}
		if err != nil {
			return fmt.Errorf("fetch %s: %w", describe(r), err)
		}
		parts = append(parts, tree.Named{Name: describe(r), Tree: t})
	}
	if _, err := tree.Merge(parts...); err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	for i, r := range d.files.Restore {
		if err := d.write(ctx, parts[i].Tree, r.Tree.Time); err != nil {
			return fmt.Errorf("restore %s: %w", describe(r), err)
		}
	}
	return nil
}

func describe(r jobs.Restore) string { return fmt.Sprintf("artifact %s of %s", r.Name, r.Module) }
