package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestGuarantees: every promise names tests that try to break it, and every
// test that is named exists.
func TestGuarantees(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "guarantees.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, promises, _ := strings.Cut(string(page), "\n## The promises\n")
	promises, _, _ = strings.Cut(promises, "\n## ")
	for promise := range strings.SplitSeq(promises, "\n\n**") {
		if promise = strings.TrimSpace(promise); promise == "" {
			continue
		}
		if _, tests, ok := strings.Cut(promise, "\nTests: "); !ok || !named.MatchString(tests) {
			t.Errorf("a promise without a test: %.60q", promise)
		}
	}
	found := named.FindAllStringSubmatch(string(page), -1)
	if len(found) == 0 {
		t.Fatal("no test is named")
	}
	for _, m := range found {
		if !hasTest(t, m[1], m[2]) {
			t.Errorf("%s has no test %s", m[1], m[2])
		}
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
