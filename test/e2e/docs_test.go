package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages are the Markdown files of the project, but the README, which has a
// separate test.
func pages(t *testing.T) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(list) == 0 {
		t.Fatal("no pages", err)
	}
	decisions, err := filepath.Glob(filepath.Join(root, "docs", "adr", "*.md"))
	if err != nil || len(decisions) == 0 {
		t.Fatal("no decisions", err)
	}
	list = append(list, decisions...)
	return append(list, filepath.Join(root, "CONTRIBUTING.md"), filepath.Join(root, "ARCHITECTURE.md"))
}

// TestDocsCommands runs every block of shell in the pages.
func TestDocsCommands(t *testing.T) {
	for _, page := range pages(t) {
		for _, block := range blocksOf(t, page, "sh") {
			runBlock(t, block)
		}
	}
}

// TestDocsFiles runs every pipeline file that a page shows whole.
func TestDocsFiles(t *testing.T) {
	name := regexp.MustCompile(`^# file: (\S+)\n`)
	found := 0
	for _, page := range pages(t) {
		for _, block := range blocksOf(t, page, "yaml") {
			m := name.FindStringSubmatch(block)
			if m == nil {
				continue // a file of another system, to compare with
			}
			found++
			t.Run(filepath.Base(page)+" "+m[1], func(t *testing.T) {
				p := newPlace(t, standalone)
				r := p.run(t, block)
				if r.Exit != 0 {
					t.Errorf("exit %d: %s", r.Exit, r.Stderr)
				}
			})
		}
	}
	if found == 0 {
		t.Error("no page shows a pipeline file")
	}
}

// TestDocsCode: the Go that the pages show is in the examples, which are
// compiled and tested.
func TestDocsCode(t *testing.T) {
	var code strings.Builder
	files, err := filepath.Glob(filepath.Join(root, "examples", "*", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		code.Write(text)
	}
	for _, page := range pages(t) {
		for _, block := range blocksOf(t, page, "go") {
			if !strings.Contains(code.String(), block) {
				t.Errorf("%s shows what no example has:\n%s", filepath.Base(page), block)
			}
		}
	}
}

// TestDocsLinks checks that the targets of links within this project exist.
func TestDocsLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)\)`)
	for _, page := range append(pages(t), filepath.Join(root, "README.md"), filepath.Join(root, "CHANGELOG.md")) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); err != nil {
				t.Errorf("%s: %v", filepath.Base(page), err)
			}
		}
	}
}
