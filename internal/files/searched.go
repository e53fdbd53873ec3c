package files

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/modpipe/modpipe/internal/mask"
	"github.com/modpipe/modpipe/internal/tree"
)

// take takes files into the store of the machine. A file with a secret of m in it is a
// *mask.FoundError, and so is a path or a link: none of its content is kept.
func (d *Directory) take(ctx context.Context, root *os.Root, opts tree.TakeOptions, m *mask.Masker) (*tree.Tree, error) {
	keeper := d.store.Keeper(ctx, d.pin)
	opts.Keep = keeper
	if m == nil {
		return tree.Take(ctx, root, opts)
	}
	opts.Keep = searched{Keeper: keeper, m: m}
	t, err := tree.Take(ctx, root, opts)
	if err != nil {
		return nil, err
	}
	for _, f := range t.Files {
		if name, found := m.Find([]byte(f.Path)); found {
			return nil, fmt.Errorf("the path %s: %w", m.Text(f.Path), &mask.FoundError{Secret: name})
		}
		if name, found := m.Find([]byte(f.Target)); found {
			return nil, fmt.Errorf("the target of the link %s: %w", f.Path, &mask.FoundError{Secret: name})
		}
	}
	return t, nil
}

// searched keeps contents in which there are no secrets.
type searched struct {
	tree.Keeper
	m *mask.Masker
}

// Has reports false, so that every file is read: what is known of one does not say
// whether a secret of this attempt is in it.
func (searched) Has(tree.Digest) bool { return false }

// Add adds content, and keeps nothing of it when there is a secret in it.
func (k searched) Add(ctx context.Context, r io.Reader) (tree.Digest, int64, error) {
	return k.Keeper.Add(ctx, k.m.Reader(r))
}
