package reuse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/modpipe/modpipe/internal/pause"
	"github.com/modpipe/modpipe/internal/tree"
)

// Mark is what a directory was like when it held a tree exactly. It is kept in
// memory only, where no attempt can change it. It takes about 150 bytes a file,
// besides the tree.
type Mark struct {
	want  wanted
	files []stamp // of the files of the tree, in their order
	dirs  map[string]stamp
}

// stamp is what shows that an entry changed. The system sets the change time
// whenever anything of the entry changes, and no call can set it to a value.
type stamp struct {
	inode, attributes uint64
	device            uint64
	size              int64
	mtime, ctime      int64 // in nanoseconds
	birth             int64
	mode              uint32
	mount             bool // something is mounted here
}

const asked = unix.STATX_BASIC_STATS | unix.STATX_BTIME

func statAt(dir int, name string) (stamp, error) {
	var st unix.Statx_t
	flags := unix.AT_SYMLINK_NOFOLLOW
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	for {
		err := unix.Statx(dir, name, flags, asked, &st)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return stamp{}, &os.PathError{Op: "statx", Path: name, Err: err}
		}
		break
	}
	if st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT == 0 {
		return stamp{}, refuse("this kernel does not show mounts (Linux 5.8 does)")
	}
	return stamp{
		inode: st.Ino, attributes: st.Attributes, device: unix.Mkdev(st.Dev_major, st.Dev_minor), size: int64(st.Size),
		mtime: nanos(st.Mtime), ctime: nanos(st.Ctime), birth: nanos(st.Btime), mode: uint32(st.Mode),
		mount: st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0,
	}, nil
}

func nanos(t unix.StatxTimestamp) int64 { return t.Sec*int64(time.Second) + int64(t.Nsec) }

func (s stamp) is(kind uint32) bool { return s.mode&unix.S_IFMT == kind }

// holds reports whether an entry may be f of a tree, by its type, mode and size.
func (s stamp) holds(f *tree.File) bool {
	switch f.Kind {
	case tree.Regular:
		return s.mode == unix.S_IFREG|0o644 && s.size == f.Size
	case tree.Executable:
		return s.mode == unix.S_IFREG|0o755 && s.size == f.Size
	case tree.Directory:
		return s.is(unix.S_IFDIR)
	case tree.Link:
		return s.is(unix.S_IFLNK)
	}
	return false
}

// Take marks a directory that holds exactly t, written by tree.Write, before an
// attempt begins to use it. It waits until a later change is certain to have a
// later time, for 10 ms at most on common systems. ErrRefused reports that the
// directory cannot be used again.
func Take(ctx context.Context, dir string, t *tree.Tree) (*Mark, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close() //nolint:errcheck // it was only read
	if err := showsChanges(root); err != nil {
		return nil, err
	}
	return take(ctx, dir, root, want(t))
}

func take(ctx context.Context, dir string, root *os.Root, w wanted) (*Mark, error) {
	m := &Mark{want: w, files: make([]stamp, len(w.tree.Files)), dirs: make(map[string]stamp, len(w.dirs))}
	newest := int64(0)
	for path := range w.dirs {
		if err := m.directory(ctx, root, path, &newest); err != nil {
			return nil, fmt.Errorf("mark the files in %s: %w", dir, err)
		}
	}
	for i := range m.files {
		if f := &w.tree.Files[i]; f.Kind != tree.Directory && m.files[i].inode == 0 {
			return nil, refuse("%s is missing", f.Path)
		}
	}
	return m, pass(ctx, filepath.Dir(dir), newest)
}

// directory marks one directory and the files in it.
func (m *Mark) directory(ctx context.Context, root *os.Root, path string, newest *int64) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	d, err := root.OpenFile(cmpPath(path), os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // it was only read
	self, err := statAt(int(d.Fd()), ".")
	if err != nil {
		return err
	}
	m.dirs[path] = self
	*newest = max(*newest, self.ctime)
	return names(d, func(name string) error {
		i, ok := m.want.find(under(path, name))
		if !ok {
			return nil // a directory, or it will be removed
		}
		s, err := statAt(int(d.Fd()), name)
		if err != nil {
			return err
		}
		if !s.holds(&m.want.tree.Files[i]) {
			return refuse("%s is not what the tree has there", under(path, name))
		}
		m.files[i] = s
		*newest = max(*newest, s.ctime)
		return nil
	})
}

func (w wanted) find(path string) (int, bool) {
	return slices.BinarySearchFunc(w.tree.Files, path, func(f tree.File, path string) int {
		switch {
		case f.Path < path:
			return -1
		case f.Path > path:
			return 1
		}
		return 0
	})
}

func cmpPath(path string) string {
	if path == "" {
		return "."
	}
	return path
}

// names calls f for every name in a directory. f may remove the entry.
func names(d *os.File, f func(name string) error) error {
	for {
		list, err := d.Readdirnames(1024)
		for _, name := range list {
			if err := f(name); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// mostTick bounds the wait for the clock of a file system.
const mostTick = 5 * time.Second

// pass waits until the file system gives a change a later time than newest.
func pass(ctx context.Context, beside string, newest int64) error {
	probe, err := os.CreateTemp(beside, ".tick-*")
	if err != nil {
		return err
	}
	defer func() { _ = errors.Join(probe.Close(), os.Remove(probe.Name())) }() // it is empty
	ctx, cancel := context.WithTimeoutCause(ctx, mostTick, refuse("its files have times in the future"))
	defer cancel()
	for {
		if err := probe.Chmod(0o600); err != nil {
			return err
		}
		s, err := statAt(int(probe.Fd()), "")
		if err != nil {
			return err
		}
		if s.ctime > newest {
			return nil
		}
		if err := pause.For(ctx, time.Millisecond); err != nil {
			return err
		}
	}
}

// showing lists the file systems that set the change time of a file at every way
// of changing it. On tmpfs a write through a memory mapping leaves it.
var showing = []int64{unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.OVERLAYFS_SUPER_MAGIC}

func showsChanges(root *os.Root) error {
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // it was only read
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(d.Fd()), &fs); err != nil {
		return err
	}
	if !slices.Contains(showing, int64(fs.Type)) { //nolint:unconvert // its type differs between architectures
		return refuse("a file system of type %#x may not show every change", fs.Type)
	}
	return nil
}
