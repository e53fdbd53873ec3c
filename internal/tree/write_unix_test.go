//go:build unix

package tree

import (
	"io/fs"
	"syscall"
	"testing"
)

func TestModesDoNotDependOnTheUmask(t *testing.T) {
	tree, store := stocked(t, map[string]string{"d/f": "x", "d/exe": "#!/bin/sh", "d/zero": "", "e/": ""})
	for _, umask := range []int{0, 0o022, 0o077, 0o027} {
		_, root := layout(t, nil)
		was := syscall.Umask(umask)
		err := Write(t.Context(), tree, root, store, WriteOptions{})
		syscall.Umask(was)
		if err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]fs.FileMode{"d": 0o755, "e": 0o755, "d/f": 0o644, "d/zero": 0o644, "d/exe": 0o755} {
			if info, err := root.Lstat(path); err != nil || info.Mode().Perm() != want {
				t.Errorf("umask %03o: %s has mode %v, %v", umask, path, info.Mode(), err)
			}
		}
	}
}
