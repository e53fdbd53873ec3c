package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/filestore"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/jobs"
)

// Load reads the list of a stored tree, and checks it: its root is that of the
// reference. It retries until ctx ends. It returns jetstream.ErrNotFound when a part
// is not stored any more, or damaged.
func Load(ctx context.Context, s content.Store, ref jobs.Tree) (*tree.Tree, error) {
	f, err := load(ctx, s, ref)
	if err != nil {
		return nil, err
	}
	return f.tree, nil
}

// Fetch brings the contents of a stored tree into the store of this machine: of the
// files that are wanted (nil = all) those that the store lacks. It returns the whole
// tree. The caller pins what it needs before: Open reads the list for that. An interrupted
// Fetch that is repeated fetches only what is missing.
func Fetch(ctx context.Context, s content.Store, ref jobs.Tree, local *filestore.Store, want func(tree.File) bool) (*tree.Tree, Stats, error) {
	x, err := Open(ctx, s, ref)
	if err != nil {
		return nil, Stats{}, err
	}
	stats, err := x.FetchAll(ctx, local, want)
	if err != nil {
		return nil, stats, err
	}
	return x.Tree(), stats, nil
}

// fetch is one Fetch.
type fetch struct {
	s        content.Store // of the namespace of the reference
	own      string        // the namespace in which the caller writes
	tree     *tree.Tree
	sections []*section
	local    *filestore.Store
	lacking  map[tree.Digest]bool
	bytes    atomic.Int64
	files    atomic.Int64
}

// load reads the manifest and the sections.
func load(ctx context.Context, s content.Store, ref jobs.Tree) (*fetch, error) {
	f := &fetch{own: s.Namespace()}
	err := f.load(ctx, s, ref)
	if err != nil {
		return nil, fmt.Errorf("read the list of %d files: %w", ref.Files, err)
	}
	return f, nil
}

func (f *fetch) load(ctx context.Context, s content.Store, ref jobs.Tree) (err error) {
	if f.s, err = s.In(ref.Namespace); err != nil {
		return err
	}
	text, err := f.s.Bytes(ctx, content.Digest(ref.Manifest), mostManifest)
	if err != nil {
		return err
	}
	m, err := parseManifest(text)
	if err != nil {
		return err
	}
	f.sections = make([]*section, len(m.Sections))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(4 * parallel) // they are short: the round trips take the time
	for i, e := range m.Sections {
		g.Go(func() error {
			s, err := f.section(gctx, e)
			if err != nil {
				return fmt.Errorf("section %d: %w", i+1, err)
			}
			f.sections[i] = s
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	var files []tree.File
	for _, s := range f.sections {
		files = append(files, s.files...)
	}
	if f.tree, err = tree.New(files); err != nil {
		return err
	}
	if root := f.tree.Root().String(); root != ref.Root {
		return fmt.Errorf("%w: the list is that of the tree %s, and not of %s", content.ErrDamaged, root, ref.Root)
	}
	return nil
}

// section reads the list of one section.
func (f *fetch) section(ctx context.Context, e entry) (*section, error) {
	from, err := f.s.In(e.Namespace)
	if err != nil {
		return nil, err
	}
	short, refs, err := from.BytesUnchecked(ctx, e.Digest, limitOf(int64(e.Bytes)))
	if err != nil {
		return nil, err
	}
	list, err := expand(nil, short, int64(e.Bytes))
	if err != nil {
		return nil, f.damaged(ctx, content.Ref{Namespace: e.Namespace, Digest: e.Digest}, err)
	}
	s, err := parseSection(list, e)
	if err != nil {
		return nil, f.damaged(ctx, content.Ref{Namespace: e.Namespace, Digest: e.Digest}, err)
	}
	where := make(map[content.Digest]string, len(refs))
	for _, ref := range refs {
		where[ref.Digest] = ref.Namespace
	}
	for i := range s.parts {
		ref := &s.parts[i].ref
		ref.Namespace = where[ref.Digest]
		if ref.Namespace == "" {
			ref.Namespace = e.Namespace
		}
	}
	return s, nil
}

// damaged notes, where the caller may write, that a value is damaged, so that the next
// Push stores it again. It returns the error.
func (f *fetch) damaged(ctx context.Context, ref content.Ref, err error) error {
	if ref.Namespace != f.own || !errors.Is(err, jetstream.ErrNotFound) {
		return err
	}
	if s, bad := f.s.In(ref.Namespace); bad == nil {
		s.Condemn(ctx, ref.Digest)
	}
	return err
}

// fetch fetches what the local store lacks of the wanted files.
func (f *fetch) fetch(ctx context.Context, want func(tree.File) bool) (stats Stats, err error) {
	local := f.local
	checked := map[tree.Digest]bool{}
	empty := false
	for _, file := range f.tree.Files {
		if !file.HasContent() || want != nil && !want(file) {
			continue
		}
		stats.Files++
		stats.Bytes += file.Size
		if checked[file.Digest] {
			continue
		}
		checked[file.Digest] = true
		switch {
		case local.Has(file.Digest):
		case file.Size == 0:
			if empty {
				continue
			}
			empty = true
			if err := local.Add(ctx, file.Digest, bytes.NewReader(nil)); err != nil {
				return stats, fmt.Errorf("%s: %w", file.Path, err)
			}
		default:
			f.lacking[file.Digest] = true
		}
	}
	err = f.parts(ctx)
	stats.MovedBytes, stats.MovedFiles = f.bytes.Load(), int(f.files.Load())
	return stats, err
}

// parts fetches the parts that hold what is lacking.
func (f *fetch) parts(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	taken := map[content.Digest]bool{}
	for _, s := range f.sections {
		for i := range s.parts {
			p := &s.parts[i]
			var files []tree.File
			for _, file := range p.files {
				if f.lacking[file.Digest] {
					files = append(files, file)
				}
			}
			if len(files) == 0 || taken[p.ref.Digest] || ctx.Err() != nil {
				continue
			}
			taken[p.ref.Digest] = true
			g.Go(func() error {
				err := f.part(ctx, p)
				if err != nil {
					return fmt.Errorf("%s: %w", files[0].Path, f.damaged(ctx, s.ref, f.damaged(ctx, p.ref, err)))
				}
				f.files.Add(int64(len(files)))
				return nil
			})
		}
	}
	return g.Wait()
}

// part fetches one part.
func (f *fetch) part(ctx context.Context, p *part) error {
	from, err := f.s.In(p.ref.Namespace)
	if err != nil {
		return err
	}
	if p.large {
		return f.large(ctx, from, p)
	}
	short, _, err := from.BytesUnchecked(ctx, p.ref.Digest, limitOf(p.bytes))
	if err != nil {
		return err
	}
	f.bytes.Add(int64(len(short)))
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	raw, err := expand(*buffer, short, p.bytes)
	if err != nil {
		return err
	}
	*buffer = raw
	for _, file := range p.files {
		data := raw[:file.Size]
		raw = raw[file.Size:]
		if !f.lacking[file.Digest] {
			continue
		}
		if err := f.add(ctx, file, bytes.NewReader(data)); err != nil {
			return err
		}
	}
	return nil
}

// large fetches a file that is a value of its own.
func (f *fetch) large(ctx context.Context, from content.Store, p *part) error {
	r, err := from.OpenUnchecked(ctx, p.ref.Digest)
	if err != nil {
		return err
	}
	err = f.add(ctx, p.files[0], r)
	f.bytes.Add(p.bytes)
	return errors.Join(err, r.Close())
}

// add adds a content to the local store, which checks its digest.
func (f *fetch) add(ctx context.Context, file tree.File, r io.Reader) error {
	err := f.local.Add(ctx, file.Digest, r)
	if errors.Is(err, filestore.ErrDigest) {
		err = fmt.Errorf("%w: %w", content.ErrDamaged, err)
	}
	return err
}
