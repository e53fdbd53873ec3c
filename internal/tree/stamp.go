package tree

import (
	"io/fs"
	"os"
	"time"
)

// stamp is what shows that a file changed, without reading it.
type stamp struct {
	size  int64
	mtime int64  // nanoseconds since 1970
	ctime int64  // of the last change of content or mode, in nanoseconds; 0 where the system has none
	inode uint64 // 0 where the system has none
}

func stampOf(info fs.FileInfo) stamp {
	inode, ctime := changed(info)
	return stamp{size: info.Size(), mtime: info.ModTime().UnixNano(), ctime: ctime, inode: inode}
}

// Times of files come from a clock that ticks, every 10 ms at most on file systems
// that store fractions of seconds, and every 2 s on others (FAT).
const (
	fineTick   = 100 * time.Millisecond
	coarseTick = 2 * time.Second
)

// racy reports whether a change after the given instant could leave the stamp as
// it is, because it falls into the same tick of the file system's clock.
func (s stamp) racy(at time.Time) bool {
	last := max(s.mtime, s.ctime)
	tick := fineTick
	if s.mtime%int64(time.Second) == 0 && s.ctime%int64(time.Second) == 0 {
		tick = coarseTick
	}
	return last >= at.Add(-tick).UnixNano()
}

// system is what the package asks of the machine. Tests put faults into it.
type system struct {
	now   func() time.Time
	lstat func(dir *os.Root, name string) (fs.FileInfo, error)
	open  func(dir *os.Root, name string) (fs.File, error)

	// foldsCase reports whether names in a directory that differ only in case are one.
	foldsCase func(dir *os.Root) (bool, error)
}

var machine = system{
	now:   time.Now,
	lstat: (*os.Root).Lstat,
	open: func(dir *os.Root, name string) (fs.File, error) {
		return dir.OpenFile(name, os.O_RDONLY|readFlags, 0)
	},
	foldsCase: foldsCase,
}
