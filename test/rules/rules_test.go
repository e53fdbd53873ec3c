// Package rules checks the shape of the source: the comment, the number of
// exports, the import depth and the sizes of every package.
//
// The limits are those of CONTRIBUTING.md. The order of the packages is a rule
// of the linter (.golangci.yml).
package rules

import (
	"cmp"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	module     = "github.com/modpipe/modpipe"
	maxDepth   = 6   // imports from a program down to a package without imports of this module
	maxExports = 40  // identifiers of a package that is neither a graph nor a wire format
	maxMethods = 25  // of one type of the command line
	maxLines   = 500 // of one file
)

// wide are the packages that may export more: the Go API, the graph of a
// pipeline, and messages and reports, which are mostly types and constants.
var wide = []string{module, module + "/pipeline", module + "/jobs", module + "/report"}

// pkg is a package of this module, as `go list` describes it.
type pkg struct {
	ImportPath   string
	Name         string
	Dir          string
	GoFiles      []string
	TestGoFiles  []string
	XTestGoFiles []string
	Imports      []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Name,Dir,GoFiles,TestGoFiles,XTestGoFiles,Imports", module+"/...")
	out, err := list.Output()
	if err != nil {
		t.Fatalf("%s: %v", list, err)
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
		var p pkg
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// source is a parsed package without its tests.
type source struct {
	pkg   pkg
	set   *token.FileSet
	files []*ast.File
}

func parse(t *testing.T, p pkg) source {
	t.Helper()
	s := source{pkg: p, set: token.NewFileSet()}
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(s.set, filepath.Join(p.Dir, name), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		s.files = append(s.files, f)
	}
	return s
}

func TestEveryPackageHasAComment(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) == 0 {
			continue
		}
		begins := "Package " + p.Name + " "
		if p.Name == "main" {
			begins = "" // any sentence
		}
		found := slices.ContainsFunc(parse(t, p).files, func(f *ast.File) bool {
			return f.Doc != nil && strings.HasPrefix(f.Doc.Text(), begins)
		})
		if !found {
			t.Errorf("%s has no package comment that begins with %q", p.ImportPath, begins)
		}
	}
}

func TestExportsAreFew(t *testing.T) {
	for _, p := range packages(t) {
		if n := len(exports(parse(t, p))); n > maxExports && !slices.Contains(wide, p.ImportPath) {
			t.Errorf("%s exports %d identifiers; at most %d are allowed", p.ImportPath, n, maxExports)
		}
	}
}

// exports are the exported identifiers at the top level of a package.
func exports(s source) []string {
	var names []string
	add := func(ids ...*ast.Ident) {
		for _, id := range ids {
			if id.IsExported() {
				names = append(names, id.Name)
			}
		}
	}
	for _, f := range s.files {
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					add(d.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch spec := spec.(type) {
					case *ast.TypeSpec:
						add(spec.Name)
					case *ast.ValueSpec:
						add(spec.Names...)
					}
				}
			}
		}
	}
	return names
}

func TestTypesOfTheCommandLineHaveFewMethods(t *testing.T) {
	for _, p := range packages(t) {
		if p.ImportPath != module+"/cli" {
			continue
		}
		for name, n := range methods(parse(t, p)) {
			if n > maxMethods {
				t.Errorf("%s.%s has %d methods; at most %d are allowed", p.ImportPath, name, n, maxMethods)
			}
		}
	}
}

// methods counts the methods of each type of a package.
func methods(s source) map[string]int {
	counts := map[string]int{}
	for _, f := range s.files {
		for _, d := range f.Decls {
			if d, ok := d.(*ast.FuncDecl); ok && d.Recv != nil {
				counts[receiver(d.Recv.List[0].Type)]++
			}
		}
	}
	return counts
}

func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return "?"
}

func TestFilesAreShort(t *testing.T) {
	for _, p := range packages(t) {
		s := parse(t, p)
		for _, f := range s.files {
			if at := s.set.Position(f.FileEnd); at.Line-1 > maxLines {
				t.Errorf("%s has %d lines; at most %d are allowed", at.Filename, at.Line-1, maxLines)
			}
		}
	}
}

func TestImportDepth(t *testing.T) {
	all := packages(t)
	byPath := map[string]pkg{}
	for _, p := range all {
		byPath[p.ImportPath] = p
	}
	for _, p := range all {
		if way := longest(byPath, map[string][]string{}, p.ImportPath); strings.HasPrefix(p.ImportPath, module+"/cmd/") && len(way)-1 > maxDepth {
			t.Errorf("imports are %d deep, at most %d are allowed: %s", len(way)-1, maxDepth, strings.ReplaceAll(strings.Join(way, " → "), module+"/", ""))
		}
	}
}

// longest is the longest chain of imports within this module that begins at path.
func longest(all map[string]pkg, known map[string][]string, path string) []string {
	if way, ok := known[path]; ok {
		return way
	}
	var below []string
	for _, i := range all[path].Imports {
		if _, ours := all[i]; !ours {
			continue
		}
		if way := longest(all, known, i); cmp.Compare(len(way), len(below)) > 0 {
			below = way
		}
	}
	known[path] = append([]string{path}, below...)
	return known[path]
}
