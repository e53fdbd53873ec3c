package transfer

import (
	"bytes"
	"context"
	"fmt"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/filestore"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/jobs"
)

// Source is a stored tree whose contents are fetched one after the other. It is safe
// for concurrent use.
type Source struct {
	f     *fetch
	where map[tree.Digest]place
}

// place is where a content is.
type place struct{ section, part int32 }

// Open reads the list of a stored tree, as Load does.
func Open(ctx context.Context, s content.Store, ref jobs.Tree) (*Source, error) {
	f, err := load(ctx, s, ref)
	if err != nil {
		return nil, err
	}
	x := &Source{f: f, where: map[tree.Digest]place{}}
	for i, s := range f.sections {
		for j := range s.parts {
			for _, file := range s.parts[j].files {
				x.where[file.Digest] = place{int32(i), int32(j)} //nolint:gosec // of lists in memory
			}
		}
	}
	return x, nil
}

// Tree returns the whole tree. Nothing may change it.
func (x *Source) Tree() *tree.Tree { return x.f.tree }

// Has reports whether Fetch fetches a content from here.
func (x *Source) Has(d tree.Digest) bool {
	_, ok := x.where[d]
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
	at, ok := x.where[file.Digest]
	if !ok {
		return fmt.Errorf("fetch %s: %w: the tree does not contain it", file.Path, jetstream.ErrNotFound)
	}
	s := x.f.sections[at.section]
	p := &s.parts[at.part]
	f := &fetch{s: x.f.s, own: x.f.own, local: local, lacking: map[tree.Digest]bool{}}
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
