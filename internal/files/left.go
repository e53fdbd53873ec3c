package files

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/modpipe/modpipe/internal/machine"
	"github.com/modpipe/modpipe/internal/reuse"
	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/internal/workspace"
)

const (
	// fewestKept is how many files make it worth to keep a directory: the mark of
	// one takes a tick of the clock of the file system, and a new file 0.2 ms.
	fewestKept = 64
	// mostMarked bounds the files of all directories that are marked at a time: each
	// takes about 350 bytes of memory.
	mostMarked = 200_000
)

// left is a directory that an attempt has left.
type left struct {
	path string
	root tree.Digest // of the tree that it held before the attempt
	mark *reuse.Mark
	size int // files of that tree
}

// takeLeft returns a directory that an attempt has left, preferably one that held the
// same tree.
func (m *Machine) takeLeft(root tree.Digest) (left, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.left) == 0 {
		return left{}, false
	}
	i := slices.IndexFunc(m.left, func(l left) bool { return l.root == root })
	if i < 0 {
		i = len(m.left) - 1
	}
	l := m.left[i]
	m.left = slices.Delete(m.left, i, i+1)
	return l, true
}

// leave keeps a directory for another attempt. The oldest one makes room for it.
func (m *Machine) leave(l left) error {
	m.mu.Lock()
	m.left = append(m.left, l)
	var over []left
	if n := len(m.left) - m.cfg.Keep; n > 0 {
		over = slices.Clone(m.left[:n])
		m.left = slices.Delete(m.left, 0, n)
	}
	m.mu.Unlock()
	return m.discard(over...)
}

// dropLeft removes all directories that attempts have left. It reports whether there
// were any.
func (m *Machine) dropLeft() (bool, error) {
	m.mu.Lock()
	all := m.left
	m.left = nil
	m.mu.Unlock()
	return len(all) > 0, m.discard(all...)
}

func (m *Machine) discard(all ...left) error {
	var errs []error
	for _, l := range all {
		m.unmark(l.size)
		errs = append(errs, workspace.Remove(l.path))
	}
	return errors.Join(errs...)
}

// mayMark reserves the memory for the mark of a directory with so many files.
func (m *Machine) mayMark(files int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cfg.Keep == 0 || files < fewestKept || m.marked+files > mostMarked {
		return false
	}
	m.marked += files
	return true
}

func (m *Machine) unmark(files int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.marked -= files
}

// provide gives the directory exactly the files of t: what an attempt has left is
// restored, or a new directory is written.
func (d *Directory) provide(ctx context.Context, t *tree.Tree, at time.Time) error {
	if !d.m.mayMark(t.Len()) {
		return d.create(ctx, t, at)
	}
	d.left = left{root: t.Root(), size: t.Len()}
	if l, ok := d.m.takeLeft(d.left.root); ok {
		mark, _, err := l.mark.Restore(ctx, l.path, t, d.store, at)
		d.m.unmark(l.size)
		if err == nil {
			d.left.path, d.left.mark = l.path, mark
			d.path = l.path
			return nil
		}
		if err := errors.Join(context.Cause(ctx), workspace.Remove(l.path)); err != nil {
			return err
		}
	}
	if err := d.create(ctx, t, at); err != nil {
		return err
	}
	d.left.path = d.path
	mark, err := reuse.Take(ctx, d.path, t)
	if err != nil { // this attempt does not need the mark
		d.m.unmark(d.left.size)
		d.left = left{}
		return context.Cause(ctx)
	}
	d.left.mark = mark
	return nil
}

// create writes a tree into a new directory. When the disk is full, the directories
// that attempts have left make room.
func (d *Directory) create(ctx context.Context, t *tree.Tree, at time.Time) error {
	for {
		err := d.tryCreate(ctx, t, at)
		if err == nil || !machine.Caused(err) || ctx.Err() != nil {
			return err
		}
		some, derr := d.m.dropLeft()
		if !some || derr != nil {
			return errors.Join(err, derr)
		}
		if d.path != "" {
			if rerr := workspace.Remove(d.path); rerr != nil {
				return errors.Join(err, rerr)
			}
		}
	}
}

func (d *Directory) tryCreate(ctx context.Context, t *tree.Tree, at time.Time) (err error) {
	if d.path, err = newDirectory(d.store); err != nil {
		return err
	}
	root, err := openRoot(d.path)
	if err != nil {
		return err
	}
	return errors.Join(tree.Write(ctx, t, root, d.store, tree.WriteOptions{Time: at}), root.Close())
}

// Gone says that nothing of the attempt is left: no process, and no function. Close
// then keeps the directory for another attempt.
func (d *Directory) Gone() { d.gone = true }

// abandon keeps the directory, or removes it.
func (d *Directory) abandon() error {
	if d.gone && d.left.mark != nil {
		return d.m.leave(d.left)
	}
	d.m.unmark(d.left.size)
	if d.path == "" {
		return nil
	}
	if err := workspace.Remove(d.path); err != nil {
		return fmt.Errorf("remove the directory of an attempt: %w", err)
	}
	return nil
}
