// Package golden compares the output of tests with files under testdata.
package golden

import (
	"os"
	"path/filepath"
	"testing"
)

// Compare fails the test when text differs from testdata/golden/name. With the
// variable UPDATE_GOLDEN it writes the file first.
func Compare(t testing.TB, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, text, want)
	}
}
