package transfer

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/filestore"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/jobs"
)

// Source is a stored tree whose list was read, and whose contents are fetched later. It
// is safe for concurrent use.
type Source struct {
	f     *fetch
	where func() map[tree.Digest]place
}

// place is where a content is.
type place struct{ section, part int32 }

// Open reads the list of a stored tree, as Load does.
func Open(ctx context.Context, s content.Store, ref jobs.Tree) (*Source, error) {
	f, err := load(ctx, s, ref)
	if err != nil {
		return nil, err
	}
	return &Source{f: f, where: sync.OnceValue(f.places)}, nil
}

// places finds where each content is.
func (f *fetch) places() map[tree.Digest]place {
	where := map[tree.Digest]place{}
	for i, s := range f.sections {
		for j := range s.parts {
			for _, file := range s.parts[j].files {
				where[file.Digest] = place{int32(i), int32(j)} //nolint:gosec // of lists in memory
			}
		}
	}
	return where
}

// on returns a fetch of this tree into a store.
func (x *Source) on(local *filestore.Store) *fetch {
	f := x.f
	return &fetch{s: f.s, own: f.own, tree: f.tree, sections: f.sections, local: local, lacking: map[tree.Digest]bool{}}
}

// FetchAll brings the contents of the files that are wanted (nil = all) into the store of
// this machine, as the function Fetch does, and does not read the list again.
func (x *Source) FetchAll(ctx context.Context, local *filestore.Store, want func(tree.File) bool) (Stats, error) {
	stats, err := x.on(local).fetch(ctx, want)
	if err != nil {
		return stats, fmt.Errorf("fetch %d files: %w", stats.Files, err)
	}
	return stats, nil
}

// Tree returns the whole tree. Nothing may change it.
func (x *Source) Tree() *tree.Tree { return x.f.tree }

// Has reports whether Fetch fetches a content from here.
func (x *Source) Has(d tree.Digest) bool {
	_, ok := x.where()[d]
	return ok
}

// Fetch brings a content into the store of this machine, and those that are stored
// together with it. It reads nothing when the store has it. The caller pins it
// before.
func (x *Source) Fetch(ctx context.Context, local *filestore.Store, file tree.File) error {
	if local.Has(file.Digest) {
		return nil
	}
	if file.Size == 0 {
		return local.Add(ctx, file.Digest, bytes.NewReader(nil))
	}
	at, ok := x.where()[file.Digest]
	if !ok {
		return fmt.Errorf("fetch %s: %w: the tree does not contain it", file.Path, jetstream.ErrNotFound)
	}
	s := x.f.sections[at.section]
	p := &s.parts[at.part]
	f := x.on(local)
	for _, other := range p.files {
		if !local.Has(other.Digest) {
			f.lacking[other.Digest] = true
		}
	}
	if err := f.part(ctx, p); err != nil {
		return fmt.Errorf("fetch %s: %w", file.Path, f.damaged(ctx, s.ref, f.damaged(ctx, p.ref, err)))
	}
	return nil
}
