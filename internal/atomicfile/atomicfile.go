package atomicfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Write replaces a file by one with this content, or leaves it as it was.
// (renameio does the same, but not on Windows.) A pipe or a device is written to.
func Write(path string, content []byte, mode os.FileMode) error {
	if standing(path) {
		return os.WriteFile(path, content, mode)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, werr := f.Write(content)
	if err := errors.Join(werr, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// standing reports whether path is not for replacing: a pipe, a device, or what
// names the output of this process.
func standing(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir() && (!info.Mode().IsRegular() || filepath.Dir(path) == "/dev")
}

// Check explains why Write would fail for path, as far as that can be
// seen before; shown is how the user names it.
func Check(path, shown string) error {
	if standing(path) {
		return nil
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fmt.Errorf("%s is a directory", shown)
	}
	if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
		return fmt.Errorf("there is no directory %s", filepath.Dir(shown))
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("nothing can be written into %s: %w", filepath.Dir(shown), errors.Unwrap(err))
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
