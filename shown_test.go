package modpipe_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestExamplesShowEveryExport: the documentation is the manual, so every
// exported name is used in code that runs, or at least compiles: in its own
// example, or in another one.
func TestExamplesShowEveryExport(t *testing.T) {
	for _, dir := range []string{".", "modpipetest", "cli"} {
		files, exports := parsed(t, dir)
		shown := shownIn(files)
		for _, name := range exports {
			_, method, _ := strings.Cut(name, ".")
			if name == "Program.Functions" {
				continue // for modpipe's own packages: users cannot name its type
			}
			if !shown[name] && (method == "" || !shown[method]) {
				t.Errorf("package %s: no example shows %s", dir, name)
			}
		}
	}
}

// parsed are the files of a package's tests, and the names that it exports.
func parsed(t *testing.T, dir string) (tests []*ast.File, exports []string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		f, err := parser.ParseFile(set, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		switch {
		case err != nil:
			t.Fatal(err)
		case strings.HasSuffix(name, "_test.go"):
			tests = append(tests, f)
		default:
			files = append(files, f)
		}
	}
	p, err := doc.NewFromFiles(set, files, "example.com/"+dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range p.Funcs {
		exports = append(exports, f.Name)
	}
	for _, typ := range p.Types {
		exports = append(exports, typ.Name)
		for _, m := range typ.Methods {
			exports = append(exports, typ.Name+"."+m.Name)
		}
		for _, f := range typ.Funcs {
			exports = append(exports, f.Name)
		}
		for _, c := range slices.Concat(typ.Consts, p.Consts, p.Vars, typ.Vars) {
			exports = append(exports, c.Names...)
		}
	}
	slices.Sort(exports)
	return tests, slices.Compact(exports)
}

// shownIn are the names of examples, and the names that examples use.
func shownIn(tests []*ast.File) map[string]bool {
	shown := map[string]bool{}
	for _, f := range tests {
		for _, e := range doc.Examples(f) {
			shown[strings.ReplaceAll(e.Name, "_", ".")] = true
			ast.Inspect(e.Code, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					shown[s.Sel.Name] = true
				}
				return true
			})
		}
	}
	return shown
}
