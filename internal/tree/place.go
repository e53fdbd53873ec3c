package tree

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"
)

// place is an open directory. Names in it are looked up without a walk from the
// top. Each user holds it once; the last one to leave it closes it.
type place struct {
	root  *os.Root
	path  string       // below the top; "" for the top
	users atomic.Int32 // the walker and the files in work
	leave func(*os.Root) error
}

// top wraps a directory that the caller owns: it is not closed.
func top(root *os.Root) *place {
	p := &place{root: root, leave: func(*os.Root) error { return nil }}
	p.users.Store(1)
	return p
}

// enter opens a directory of this one, held once. leave runs before it is closed.
func (p *place) enter(name string, leave func(*os.Root) error) (*place, error) {
	root, err := p.root.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	child := &place{root: root, path: under(p.path, name), leave: func(root *os.Root) error {
		return errors.Join(leave(root), root.Close())
	}}
	child.users.Store(1)
	return child, nil
}

func (p *place) hold() { p.users.Add(1) }

func (p *place) release() error {
	if p.users.Add(-1) > 0 {
		return nil
	}
	return p.leave(p.root)
}

// chain is the open directories on the way to a path, from the top. Paths in their
// order open each directory once.
type chain []*place

func (c chain) last() *place { return c[len(c)-1] }

// next returns the name after the last directory on the way to a path below it,
// and whether more names follow.
func (c chain) next(path string) (name string, more bool) {
	name, _, more = strings.Cut(strings.TrimPrefix(path[len(c.last().path):], "/"), "/")
	return name, more
}

// leave releases the directories that a path is not below; "" leaves all but the top.
func (c *chain) leave(path string) (err error) {
	for last := c.last(); last.path != "" && !strings.HasPrefix(path, last.path+"/"); last = c.last() {
		*c = (*c)[:len(*c)-1]
		err = errors.Join(err, last.release())
	}
	return err
}

// reason returns the cause without the system call and the short name that
// package os puts before it; our errors name the whole path.
func reason(err error) error {
	switch err := err.(type) { //nolint:errorlint // what others wrapped keeps its words
	case *fs.PathError:
		return err.Err
	case *os.LinkError:
		return err.Err
	}
	return err
}

// what names the type of a file in a message.
func what(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "file"
	case mode.IsDir():
		return "directory"
	case mode&fs.ModeSymlink != 0:
		return "link"
	case mode&fs.ModeNamedPipe != 0:
		return "FIFO"
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeDevice != 0:
		return "device"
	}
	return "special file"
}
