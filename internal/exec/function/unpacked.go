package function

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/modpipe/modpipe/internal/call"
)

// unpack writes the artifacts that a function may open below the directory of its
// call, for the process that runs it. Only the worker can fetch files and check
// them; to serve single files to another process would take a second connection
// between the two, which has to end, and to be bounded and guarded, as this
// directory is anyway. So a process of its own pays for all files of what it opens.
func unpack(ctx context.Context, dir string, req *call.Request) error {
	req.Opens = slices.Clone(req.Opens)
	if req.Stubbed || req.Files == nil {
		return nil
	}
	for i := range req.Opens {
		o := &req.Opens[i]
		to := filepath.Join(dir, "artifacts", strconv.Itoa(i))
		err := req.Files.Unpack(ctx, o.Module, o.Name, to)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		o.Dir = to
	}
	return nil
}

// unpacked opens artifacts that unpack has written.
type unpacked []call.Opened

// Open returns the files of an artifact.
func (u unpacked) Open(ctx context.Context, module, name string) (fs.FS, error) {
	root, err := u.root(ctx, module, name)
	if err != nil {
		return nil, err
	}
	return within{ctx, root.FS()}, nil // the root is open until this process ends
}

// Unpack copies the files of an artifact.
func (u unpacked) Unpack(ctx context.Context, module, name, dir string) error {
	root, err := u.root(ctx, module, name)
	if err != nil {
		return err
	}
	err = os.MkdirAll(dir, 0o777) //nolint:gosec // less the umask, as the files
	if err == nil {
		err = os.CopyFS(dir, root.FS())
	}
	return errors.Join(err, root.Close())
}

func (u unpacked) root(ctx context.Context, module, name string) (*os.Root, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, o := range u {
		if o.Module == module && o.Name == name && o.Dir != "" {
			return os.OpenRoot(o.Dir)
		}
	}
	return nil, fs.ErrNotExist
}

// within opens no file once its context has ended.
type within struct {
	ctx context.Context //nolint:containedctx // fs.FS takes none
	fs.FS
}

// Open implements fs.FS.
func (w within) Open(name string) (fs.File, error) {
	if err := w.ctx.Err(); err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return w.FS.Open(name)
}
