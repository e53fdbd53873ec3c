package tree

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
)

// emptyContent is the digest of no bytes, for which no store is asked.
var emptyContent = Digest(sha256.Sum256(nil))

// file writes a file, unless it is there. It leaves nothing incomplete.
func (w *writer) file(ctx context.Context, dir *place, name string, f *File) error {
	mode := fs.FileMode(0o644)
	if f.Kind == Executable {
		mode = 0o755
	}
	err := w.place(ctx, dir, name, f, mode)
	if errors.Is(err, fs.ErrExist) {
		if !w.opts.Replace {
			return w.same(ctx, dir, name, f)
		}
		if err := w.clear(dir, name); err != nil {
			return err
		}
		err = w.place(ctx, dir, name, f, mode)
	}
	if err != nil {
		return err
	}
	if err := w.finish(dir, name, f, mode); err != nil {
		return errors.Join(err, dir.root.Remove(name))
	}
	return nil
}

// place creates the file with its content.
func (w *writer) place(ctx context.Context, dir *place, name string, f *File, mode fs.FileMode) error {
	if f.Size > 0 || f.Digest != emptyContent {
		return w.from.Place(ctx, f.Digest, dir.root, name, mode)
	}
	file, err := dir.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	return file.Close()
}

// finish checks the file, and sets its mode and its time.
func (w *writer) finish(dir *place, name string, f *File, mode fs.FileMode) error {
	info, err := w.system.lstat(dir.root, name)
	if err != nil {
		return err
	}
	if info.Size() != f.Size {
		return fmt.Errorf("its content has %d bytes, and the tree says %d", info.Size(), f.Size)
	}
	if info.Mode().Perm() != mode && runtime.GOOS != "windows" {
		if err := dir.root.Chmod(name, mode); err != nil {
			return err
		}
	}
	if w.opts.Time.IsZero() {
		return nil
	}
	return dir.root.Chtimes(name, w.opts.Time, w.opts.Time)
}

// same returns nil if the file is there already.
func (w *writer) same(ctx context.Context, dir *place, name string, f *File) error {
	info, err := w.system.lstat(dir.root, name)
	if err != nil {
		return err
	}
	switch {
	case !info.Mode().IsRegular():
		return fmt.Errorf("there is a %s already", what(info.Mode()))
	case info.Size() != f.Size:
		return fmt.Errorf("there is another file already, of %d bytes instead of %d", info.Size(), f.Size)
	case kindOf(info) != f.Kind && runtime.GOOS != "windows":
		return fmt.Errorf("there is the same path already, as a %s instead of a %s", kindOf(info), f.Kind)
	}
	t := taker{opts: TakeOptions{Index: w.opts.Index}, system: w.system}
	there, ok := w.opts.Index.lookup(f.Path, stampOf(info))
	if !ok {
		if err := t.read(ctx, dir, name, f.Path, info); err != nil {
			return err
		}
		if len(t.files) == 0 {
			return errors.New("it was there, and another program removed it at the same time")
		}
		there = t.files[0].Digest
	}
	if there != f.Digest {
		return errors.New("there is another file already, of the same size with other content")
	}
	return nil
}
