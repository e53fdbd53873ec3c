package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/transfer"
	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/jobs"
)

// mostManifest bounds a manifest that is read to find out whether it exists, in
// bytes.
const mostManifest = 64 << 20

// inputs hashes the files that modules declare as inputs of their caches.
type inputs struct {
	conn      *broker.Conn
	spec      *jobs.Spec
	dir       string // in which attempts run in place; "" = they do not
	isolated  bool   // every attempt has a directory of its own
	namespace string // in which this orchestrator writes

	mu       sync.Mutex
	snapshot *tree.Tree           // loaded
	roots    map[string]jobs.Tree // by globs: of the snapshot, which does not change
}

func newInputs(c *broker.Conn, spec *jobs.Spec, dir, namespace string) *inputs {
	in := &inputs{conn: c, spec: spec, dir: dir, namespace: namespace, roots: map[string]jobs.Tree{}}
	if spec.Isolated || spec.Pipeline.Isolated {
		in.dir, in.isolated = "", true
	}
	return in
}

// now returns the tree of the files that globs match: where attempts run in place as
// they are now, otherwise those of the snapshot.
func (in *inputs) now(ctx context.Context, globs []string) (jobs.Tree, error) {
	if in.dir == "" {
		return in.taken(ctx, globs)
	}
	root, err := os.OpenRoot(in.dir)
	if err != nil {
		return jobs.Tree{}, err
	}
	defer func() { _ = root.Close() }() // nothing was written
	t, err := tree.Take(ctx, root, tree.TakeOptions{Patterns: globs, SkipGit: true})
	if err != nil {
		return jobs.Tree{}, err
	}
	return jobs.Tree{Root: t.Root().String(), Files: t.Len(), Bytes: t.Size()}, nil
}

// taken returns the tree of the files of the snapshot that globs match. The tree is
// not stored: it has no manifest.
func (in *inputs) taken(ctx context.Context, globs []string) (jobs.Tree, error) {
	if in.spec.Workspace == nil {
		return jobs.Tree{}, errors.New("the run has no snapshot of its workspace")
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	key := strings.Join(globs, "\x00")
	if t, ok := in.roots[key]; ok {
		return t, nil
	}
	if err := in.loadSnapshot(ctx); err != nil {
		return jobs.Tree{}, err
	}
	some, err := in.snapshot.Select(globs)
	if err != nil {
		return jobs.Tree{}, err
	}
	t := jobs.Tree{Root: some.Root().String(), Files: some.Len(), Bytes: some.Size()}
	in.roots[key] = t
	return t, nil
}

// loadSnapshot loads the list of the files of the snapshot, once. The caller holds mu.
func (in *inputs) loadSnapshot(ctx context.Context) error {
	if in.snapshot != nil {
		return nil
	}
	t, err := in.load(ctx, in.spec.Workspace.Tree)
	if err != nil {
		return fmt.Errorf("read the list of the files of the snapshot: %w", err)
	}
	in.snapshot = t
	return nil
}

// hashes loads the list of the files of the snapshot, and returns the function that
// hashes those that globs match: "" for none. The function waits for nothing.
func (in *inputs) hashes(ctx context.Context) (func(globs []string) (string, error), error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if err := in.loadSnapshot(ctx); err != nil {
		return nil, err
	}
	return func(globs []string) (string, error) {
		t, err := in.taken(ctx, globs)
		if err != nil || t.Files == 0 {
			return "", err
		}
		return t.Root, nil
	}, nil
}

func (in *inputs) load(ctx context.Context, ref jobs.Tree) (*tree.Tree, error) {
	if ref.Manifest == "" {
		return &tree.Tree{}, nil // a snapshot of no files
	}
	store, err := in.conn.Files.In(cmp.Or(ref.Namespace, jobs.DefaultNamespace))
	if err != nil {
		return nil, err
	}
	return transfer.Load(ctx, store, ref)
}

// keep reports whether a stored tree is there, and extends its life where this
// orchestrator may write. What its manifest refers to lives as long as the manifest.
func (in *inputs) keep(ctx context.Context, t jobs.Tree) (bool, error) {
	store, err := in.conn.Files.In(cmp.Or(t.Namespace, jobs.DefaultNamespace))
	if err != nil {
		return false, err
	}
	d := content.Digest(t.Manifest)
	if store.Namespace() == in.namespace {
		have, err := store.Have(ctx, []content.Digest{d})
		return have[d] != "", err
	}
	_, err = store.Bytes(ctx, d, mostManifest) // a record of the log will hold it
	if errors.Is(err, broker.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
