package files

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/modpipe/modpipe/internal/filestore"
	"github.com/modpipe/modpipe/internal/tree"
)

// view shows an artifact as a file system. Its links lead to its own files only.
type view struct {
	ctx   context.Context //nolint:containedctx // fs.FS takes none
	a     *Artifacts
	of    *artifact
	nodes map[string]*viewNode // by path; "." is the root
}

// viewNode is a file, a link or a directory.
type viewNode struct {
	name     string
	mode     fs.FileMode
	file     tree.File     // unless it is a directory
	children []fs.DirEntry // of a directory, sorted by name
	time     time.Time
}

func newView(ctx context.Context, a *Artifacts, x *artifact) *view {
	v := &view{ctx: ctx, a: a, of: x, nodes: map[string]*viewNode{}}
	v.directory(".")
	for _, f := range x.tree.Files {
		n := &viewNode{name: path.Base(f.Path), file: f, time: x.time}
		switch f.Kind {
		case tree.Regular:
			n.mode = 0o644
		case tree.Executable:
			n.mode = 0o755
		case tree.Link:
			n.mode = fs.ModeSymlink | 0o777
		case tree.Directory:
			v.directory(f.Path)
			continue
		}
		v.add(f.Path, n)
	}
	for _, n := range v.nodes {
		slices.SortFunc(n.children, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	}
	return v
}

// add adds a node and the directories above it.
func (v *view) add(name string, n *viewNode) {
	v.nodes[name] = n
	if name != "." {
		above := v.directory(path.Dir(name))
		above.children = append(above.children, fs.FileInfoToDirEntry(n))
	}
}

func (v *view) directory(name string) *viewNode {
	n := v.nodes[name]
	if n == nil {
		n = &viewNode{name: path.Base(name), mode: fs.ModeDir | 0o755, time: v.of.time}
		v.add(name, n)
	}
	return n
}

// Name implements fs.FileInfo.
func (n *viewNode) Name() string { return n.name }

// Size is that of the content; of a link that of its target.
func (n *viewNode) Size() int64 {
	if n.mode.Type() == fs.ModeSymlink {
		return int64(len(n.file.Target))
	}
	return n.file.Size
}

// Mode implements fs.FileInfo.
func (n *viewNode) Mode() fs.FileMode { return n.mode }

// ModTime is when the artifact was stored.
func (n *viewNode) ModTime() time.Time { return n.time }

// IsDir implements fs.FileInfo.
func (n *viewNode) IsDir() bool { return n.mode.IsDir() }

// Sys implements fs.FileInfo.
func (n *viewNode) Sys() any { return nil }

// mostLinks is how many links one path may follow.
const mostLinks = 40

// resolve finds what is at a path. It follows links, the last one only if asked to.
func (v *view) resolve(op, name string, last bool) (*viewNode, error) {
	fail := func(err error) (*viewNode, error) { return nil, &fs.PathError{Op: op, Path: name, Err: err} }
	if !fs.ValidPath(name) {
		return fail(fs.ErrInvalid)
	}
	if err := v.ctx.Err(); err != nil {
		return fail(err)
	}
	if v.a.closed.Load() {
		return fail(fs.ErrClosed)
	}
	at, rest := ".", name
	for links := 0; rest != "." && rest != ""; {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		next := path.Join(at, part)
		n := v.nodes[next]
		switch {
		case n == nil:
			return fail(fs.ErrNotExist)
		case n.mode.Type() == fs.ModeSymlink && (rest != "" || last):
			if links++; links > mostLinks {
				return fail(errors.New("too many links"))
			}
			at, rest = ".", path.Join(at, n.file.Target, rest)
			if !fs.ValidPath(rest) {
				return fail(fs.ErrNotExist)
			}
		default:
			at = next
		}
	}
	return v.nodes[at], nil
}

// Open implements fs.FS. It fetches the content of a file.
func (v *view) Open(name string) (fs.File, error) {
	n, err := v.resolve("open", name, true)
	if err != nil {
		return nil, err
	}
	if n.IsDir() {
		return &viewDir{viewNode: n, left: n.children}, nil
	}
	r, err := v.content(n.file)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &viewFile{view: v, node: n, r: r, path: name}, nil
}

// content opens the content of a file. The store may find a content damaged, which it
// had; then it is fetched once more.
func (v *view) content(f tree.File) (r *filestore.Reader, err error) {
	for range 2 {
		if err := v.a.fetch(v.ctx, v.of, f); err != nil {
			return nil, err
		}
		if r, err = v.a.d.store.Open(v.ctx, f.Digest); !errors.Is(err, filestore.ErrMissing) {
			break
		}
	}
	return r, err
}

// Stat implements fs.StatFS. It fetches nothing.
func (v *view) Stat(name string) (fs.FileInfo, error) { return info(v.resolve("stat", name, true)) }

// Lstat implements fs.ReadLinkFS.
func (v *view) Lstat(name string) (fs.FileInfo, error) { return info(v.resolve("lstat", name, false)) }

func info(n *viewNode, err error) (fs.FileInfo, error) {
	if err != nil {
		return nil, err
	}
	return n, nil
}

// ReadLink implements fs.ReadLinkFS.
func (v *view) ReadLink(name string) (string, error) {
	n, err := v.resolve("readlink", name, false)
	if err != nil {
		return "", err
	}
	if n.mode.Type() != fs.ModeSymlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return n.file.Target, nil
}

// viewFile is an open file. Reading it checks its digest at the end.
type viewFile struct {
	view *view
	node *viewNode
	path string
	r    *filestore.Reader
}

func (f *viewFile) Stat() (fs.FileInfo, error) { return f.node, nil }

func (f *viewFile) Read(p []byte) (int, error) {
	if err := f.view.ctx.Err(); err != nil {
		return 0, &fs.PathError{Op: "read", Path: f.path, Err: err}
	}
	return f.r.Read(p)
}

func (f *viewFile) Close() error { return f.r.Close() }

// viewDir is an open directory.
type viewDir struct {
	*viewNode
	left []fs.DirEntry
}

func (d *viewDir) Stat() (fs.FileInfo, error) { return d.viewNode, nil }

func (d *viewDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: errors.New("is a directory")}
}

func (d *viewDir) Close() error { return nil }

func (d *viewDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		n = len(d.left)
	} else if len(d.left) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.left))
	found := slices.Clone(d.left[:n])
	d.left = d.left[n:]
	return found, nil
}
