//go:build linux || darwin

package doctor

import "golang.org/x/sys/unix"

// diskFree returns how many bytes this user may still write on the disk of dir.
func diskFree(dir string) (free int64, known bool) {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), true //nolint:unconvert // not the same types everywhere
}
