package filestore

import (
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// devices names a source and a target file system.
type devices struct{ from, to uint64 }

// clone gives the empty file dst the content of src without copying it, and
// reports whether that was possible. A pair of file systems that cannot do it is
// not asked again.
func (s *Store) clone(dst, src *os.File) bool {
	from, ok := device(src)
	to, also := device(dst)
	if !ok || !also || from != to {
		return false
	}
	pair := devices{from, to}
	if _, known := s.noClone.Load(pair); known {
		return false
	}
	err := unix.IoctlFileClone(int(dst.Fd()), int(src.Fd()))
	if err == unix.EOPNOTSUPP || err == unix.ENOTTY || err == unix.ENOSYS || err == unix.EXDEV {
		s.noClone.Store(pair, true)
	}
	return err == nil
}

func device(f *os.File) (uint64, bool) {
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	return st.Dev, err == nil
}

func sameDevice(a, b *os.File) bool {
	x, ok := device(a)
	y, also := device(b)
	return ok && also && x == y
}

func stampOf(info fs.FileInfo) (stamp, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}, false
	}
	return stamp{device: st.Dev, inode: st.Ino, size: st.Size, mtime: st.Mtim.Nano(), ctime: st.Ctim.Nano()}, true
}
