package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/jobs"
)

// Stats counts what a transfer has moved.
type Stats struct {
	Files      int   // of the tree, or those that were wanted
	Bytes      int64 // of these files
	MovedFiles int   // files whose contents were transferred, with their neighbours in packs
	MovedBytes int64 // that were transferred, compressed, with lists
}

// Opener opens the content of a file of a tree.
type Opener func(tree.File) (io.ReadCloser, error)

// Push stores a tree in the namespace of a store, and returns the reference to it,
// with the given time. open delivers the contents; several files are open at the
// same time, and those that are stored already are not opened.
//
// It retries until ctx ends, waits while the store is full unless its policy says
// otherwise, and returns content.ErrChanged, with the path, when a file does not have
// the digest that the tree names. An interrupted Push that is repeated sends only what
// is missing.
func Push(ctx context.Context, s content.Store, t *tree.Tree, open Opener, when time.Time) (jobs.Tree, Stats, error) {
	p := &push{s: s, open: open, sections: cut(t.Files)}
	for i := range t.Files {
		if t.Files[i].HasContent() {
			p.stats.Files++
			p.stats.Bytes += t.Files[i].Size
		}
	}
	manifest, err := p.run(ctx)
	p.stats.MovedBytes, p.stats.MovedFiles = p.bytes.Load(), int(p.files.Load())
	if err != nil {
		return jobs.Tree{}, p.stats, fmt.Errorf("store %d files: %w", p.stats.Files, err)
	}
	ref := jobs.Tree{Root: t.Root().String(), Manifest: string(manifest), Namespace: s.Namespace(), Files: p.stats.Files, Bytes: p.stats.Bytes, Time: when}
	return ref, p.stats, nil
}

// push is one Push.
type push struct {
	s        content.Store
	open     Opener
	sections []section
	stats    Stats
	bytes    atomic.Int64
	files    atomic.Int64
}

func (p *push) run(ctx context.Context) (content.Digest, error) {
	missing, err := p.missingSections(ctx)
	if err != nil {
		return "", err
	}
	parts, err := p.missingParts(ctx, missing)
	if err != nil {
		return "", err
	}
	if err := p.sendParts(ctx, parts); err != nil {
		return "", err
	}
	if err := p.sendSections(ctx, missing); err != nil {
		return "", err
	}
	return p.sendManifest(ctx)
}

// missingSections finds the sections that are not stored.
func (p *push) missingSections(ctx context.Context) (missing []*section, err error) {
	digests := make([]content.Digest, len(p.sections))
	for i := range p.sections {
		digests[i] = p.sections[i].ref.Digest
	}
	have, err := p.s.Have(ctx, digests)
	if err != nil {
		return nil, err
	}
	for i := range p.sections {
		s := &p.sections[i]
		if namespace, ok := have[s.ref.Digest]; ok {
			s.ref.Namespace = namespace
			continue
		}
		s.ref.Namespace = p.s.Namespace()
		s.parts = partsOf(s.files)
		missing = append(missing, s)
	}
	return missing, nil
}

// missingParts finds the parts of sections that are not stored. Each is in the result
// once.
func (p *push) missingParts(ctx context.Context, sections []*section) (missing []*part, err error) {
	var digests []content.Digest
	for _, s := range sections {
		for i := range s.parts {
			digests = append(digests, s.parts[i].ref.Digest)
		}
	}
	have, err := p.s.Have(ctx, digests)
	if err != nil {
		return nil, err
	}
	for _, s := range sections {
		for i := range s.parts {
			part := &s.parts[i]
			namespace, ok := have[part.ref.Digest]
			if !ok {
				namespace = p.s.Namespace()
				have[part.ref.Digest] = namespace
				missing = append(missing, part)
			}
			part.ref.Namespace = namespace
		}
	}
	return missing, nil
}

// sendParts sends parts, packs several at a time.
func (p *push) sendParts(ctx context.Context, parts []*part) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	var large sync.Mutex // one large file at a time: it fills the link by itself
	for _, part := range parts {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			if part.large {
				large.Lock()
				defer large.Unlock()
				return p.sendLarge(ctx, part)
			}
			return p.sendPack(ctx, part)
		})
	}
	return g.Wait()
}

// sendLarge sends a file as a value.
func (p *push) sendLarge(ctx context.Context, part *part) error {
	f := part.files[0]
	r, err := p.open(f)
	if err != nil {
		return err
	}
	sent, err := p.s.Send(ctx, content.Value{Digest: part.ref.Digest, Size: f.Size}, r)
	p.bytes.Add(sent)
	if err := errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("%s: %w", f.Path, err)
	}
	p.files.Add(1)
	return nil
}

// buffers are those of packs.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// sendPack sends the contents of files together.
func (p *push) sendPack(ctx context.Context, part *part) error {
	raw, short := buffers.Get().(*[]byte), buffers.Get().(*[]byte)
	defer buffers.Put(raw)
	defer buffers.Put(short)
	*raw = (*raw)[:0]
	var err error
	for _, f := range part.files {
		if *raw, err = p.read(*raw, f); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	if *short, err = compress((*short)[:0], *raw); err != nil {
		return err
	}
	sent, err := p.s.Send(ctx, content.Value{Digest: part.ref.Digest, Size: int64(len(*short)), Unchecked: true}, bytes.NewReader(*short))
	p.bytes.Add(sent)
	if err == nil {
		p.files.Add(int64(len(part.files)))
	}
	return err
}

// read appends the content of a file, and checks it.
func (p *push) read(b []byte, f tree.File) ([]byte, error) {
	r, err := p.open(f)
	if err != nil {
		return b, err
	}
	begin, size := len(b), int(f.Size)
	if cap(b) < begin+size+1 {
		b = append(make([]byte, 0, max(begin+size+1, mostPack+1)), b...)
	}
	n, err := io.ReadFull(r, b[begin:begin+size+1]) // one byte more shows that it has grown
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = nil
	}
	if err := errors.Join(err, r.Close()); err != nil {
		return b, err
	}
	b = b[:begin+min(n, size)]
	if n != size || tree.Digest(sha256.Sum256(b[begin:])) != f.Digest {
		return b, content.ErrChanged
	}
	return b, nil
}

// sendSections sends the lists of sections.
func (p *push) sendSections(ctx context.Context, sections []*section) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, s := range sections {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			short, err := compress(nil, s.list)
			if err != nil {
				return err
			}
			v := content.Value{Digest: s.ref.Digest, Size: int64(len(short)), Unchecked: true}
			for i := range s.parts {
				v.Refs = append(v.Refs, s.parts[i].ref)
			}
			sent, err := p.s.Send(ctx, v, bytes.NewReader(short))
			p.bytes.Add(sent)
			return err
		})
	}
	return g.Wait()
}

func (p *push) sendManifest(ctx context.Context) (content.Digest, error) {
	m := manifest{Version: manifestVersion}
	var refs []content.Ref
	for i := range p.sections {
		s := &p.sections[i]
		m.Sections = append(m.Sections, entry{Namespace: s.ref.Namespace, Digest: s.ref.Digest, Files: len(s.files), Bytes: len(s.list)})
		refs = append(refs, s.ref)
	}
	text, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	v := content.Value{Digest: content.DigestOf(text), Size: int64(len(text)), Refs: refs}
	have, err := p.s.Have(ctx, []content.Digest{v.Digest})
	if err != nil || have[v.Digest] == p.s.Namespace() {
		return v.Digest, err
	}
	sent, err := p.s.Send(ctx, v, bytes.NewReader(text))
	p.bytes.Add(sent)
	return v.Digest, err
}
