package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestGuarantees checks guarantees.md beside it: the promises are those of
// docs/guarantees.md, each names tests that try to break it, and each named
// test exists.
func TestGuarantees(t *testing.T) {
	_, page, _ := strings.Cut(projectFile(t, "docs/guarantees.md"), "\n## The promises\n")
	page, _, _ = strings.Cut(page, "\n## ")
	var promises []string
	for _, m := range regexp.MustCompile(`(?m)^\*\*(.+?)\*\*`).FindAllStringSubmatch(page, -1) {
		promises = append(promises, m[1])
	}
	var mapped []string
	for _, section := range strings.Split(projectFile(t, "test/e2e/guarantees.md"), "\n## ")[1:] {
		promise, tests, _ := strings.Cut(section, "\n")
		mapped = append(mapped, promise)
		found := named.FindAllStringSubmatch(tests, -1)
		if len(found) == 0 {
			t.Errorf("a promise without a test: %q", promise)
		}
		for _, m := range found {
			if !hasTest(t, m[1], m[2]) {
				t.Errorf("%s has no test %s", m[1], m[2])
			}
		}
	}
	if len(promises) == 0 || !slices.Equal(promises, mapped) {
		t.Errorf("docs/guarantees.md promises %q, test/e2e/guarantees.md maps %q", promises, mapped)
	}
}

// named is a test in the text: `package.TestName`.
var named = regexp.MustCompile("`([a-z0-9/]+)\\.(Test[A-Za-z0-9_]+)`")

func hasTest(t *testing.T, pkg, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(t *testing.T)") {
			return true
		}
	}
	return false
}
