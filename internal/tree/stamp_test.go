//go:build linux || darwin

package tree

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A change of the same size, whose modification time is set back, shows in the
// change time, which no program can set.
func TestAChangeWithOldTimesIsNoticed(t *testing.T) {
	dir, root := layout(t, map[string]string{"a": "1"})
	at := filepath.Join(dir, "a")
	sys, x := count(time.Hour), openIndex(t, filepath.Join(t.TempDir(), "index"))
	opts := TakeOptions{Index: x, system: &sys.system}
	info, err := os.Lstat(at)
	if err != nil {
		t.Fatal(err)
	}
	// The change time moves on with the clock of the file system, which ticks.
	for changed := info; !changeTime(changed).After(changeTime(info)); {
		mustTake(t, root, opts)
		put(t, dir, "a", "2")
		if err := os.Chtimes(at, info.ModTime(), info.ModTime()); err != nil {
			t.Fatal(err)
		}
		if changed, err = os.Lstat(at); err != nil {
			t.Fatal(err)
		}
	}
	if f, _ := mustTake(t, root, opts).Find("a"); f != regular("a", "2") {
		t.Errorf("took %v", f)
	}
}

func changeTime(info fs.FileInfo) time.Time {
	_, ctime := changed(info)
	return time.Unix(0, ctime)
}
