package filestore

import (
	"context"
	"io"

	"github.com/modpipe/modpipe/internal/tree"
)

// Keeper adds files while a tree of them is taken: it implements tree.Keeper. It
// is safe for concurrent use.
type Keeper struct {
	ctx   context.Context //nolint:containedctx // Has has no parameter for it
	store *Store
	pin   *Pin
}

// Keeper returns a keeper that pins everything that it is asked for or adds.
func (s *Store) Keeper(ctx context.Context, pin *Pin) *Keeper { return &Keeper{ctx, s, pin} }

// Has reports whether the content is in the store, and pinned.
func (k *Keeper) Has(d tree.Digest) bool {
	// Content that cannot be pinned is added again, and the error shows there.
	return k.store.Has(d) && k.pin.Add(k.ctx, d) == nil && k.store.Has(d)
}

// Add adds the content that r delivers, and returns its digest and its length in
// bytes.
func (k *Keeper) Add(ctx context.Context, r io.Reader) (tree.Digest, int64, error) {
	w, err := k.store.Writer(ctx)
	if err != nil {
		return tree.Digest{}, 0, err
	}
	defer w.Discard()
	if err := w.fill(ctx, r); err != nil {
		return tree.Digest{}, 0, err
	}
	if err := k.pin.Add(ctx, tree.Digest(w.hash.Sum(nil))); err != nil {
		return tree.Digest{}, 0, err
	}
	return w.Commit(ctx)
}

var (
	_ tree.Keeper  = (*Keeper)(nil)
	_ tree.Content = (*Store)(nil)
)
