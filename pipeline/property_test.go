package pipeline

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A matrix has as many members as the product of its axes, names and tokens
// are unique, and every value is on one.
func TestExpansionIsTheProduct(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		axes := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,4}`), 1, 4, rapid.ID).Draw(t, "axes")
		src, count := "name: t\nmodules:\n  m:\n    run: x\n    matrix:\n", 1
		for _, axis := range axes {
			if axis == "true" || axis == "null" || axis == "y" || axis == "n" {
				axis += "_"
			}
			values := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-zA-Z0-9 ,=()']{1,6}`), 1, 4, rapid.ID).Draw(t, "values")
			quoted := make([]string, len(values))
			for i, v := range values {
				quoted[i] = fmt.Sprintf("%q", v)
			}
			src += fmt.Sprintf("      %s: [%s]\n", axis, strings.Join(quoted, ", "))
			count *= len(values)
		}
		f, err := Parse("t.yaml", []byte(src))
		if err != nil && strings.Contains(err.Error(), "twice") {
			return // values that spell two members alike are refused, and have their own test
		}
		if err != nil {
			t.Fatal(err)
		}
		p, err := f.Bind(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Modules) != count {
			t.Fatalf("%d members, want %d", len(p.Modules), count)
		}
		unique(t, p)
	})
}

func unique(t *rapid.T, p *Pipeline) {
	names, tokens := map[string]bool{}, map[string]bool{}
	for _, m := range p.Modules {
		if names[m.Name] || tokens[strings.ToLower(m.Token)] {
			t.Fatalf("%s (%s) is repeated", m.Name, m.Token)
		}
		names[m.Name], tokens[strings.ToLower(m.Token)] = true, true
	}
}

// Tokens are unique, for any names of modules.
func TestTokensAreUnique(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[ab][-01]{0,4}`), 1, 12, rapid.ID).Draw(t, "names")
		src := "name: t\nmodules:\n"
		for _, name := range names {
			if rapid.Bool().Draw(t, "family") {
				src += fmt.Sprintf("  %s: {run: x, matrix: {v: [1, 2, 3]}}\n", name)
			} else {
				src += fmt.Sprintf("  %s: {run: x}\n", name)
			}
		}
		f, err := Parse("t.yaml", []byte(src))
		if err != nil {
			t.Fatal(err)
		}
		p, err := f.Bind(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		unique(t, p)
	})
}

// A graph is refused if and only if it has a cycle.
func TestCyclesAreFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "modules")
		needs := make([][]int, n)
		src := "name: t\nmodules:\n"
		for i := range n {
			if n > 1 {
				others := rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 0, 3, rapid.ID).Draw(t, "needs")
				for _, o := range others {
					if o != i {
						needs[i] = append(needs[i], o)
					}
				}
			}
			words := make([]string, len(needs[i]))
			for k, o := range needs[i] {
				words[k] = fmt.Sprintf("m%d", o)
			}
			src += fmt.Sprintf("  m%d: {run: x, needs: [%s]}\n", i, strings.Join(words, ", "))
		}
		_, err := Parse("t.yaml", []byte(src))
		if cyclic(needs) != (err != nil) {
			t.Fatalf("cyclic %v, but %v\n%s", cyclic(needs), err, src)
		}
		if err != nil && !strings.Contains(err.Error(), "cycle: ") {
			t.Fatal(err)
		}
	})
}

func cyclic(needs [][]int) bool {
	left := len(needs)
	done := make([]bool, len(needs))
	for again := true; again; {
		again = false
		for i := range needs {
			ready := !done[i]
			for _, n := range needs[i] {
				ready = ready && done[n]
			}
			if ready {
				done[i], again = true, true
				left--
			}
		}
	}
	return left > 0
}

// A value is never read as an expression again.
func TestValuesAreNotParsed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.String().Draw(t, "value") + rapid.SampledFrom([]string{"", "${{ params.p }}", "${{", "}}"}).Draw(t, "end")
		f, err := Parse("t.yaml", []byte("name: t\nparams: {p: {}}\nmodules: {m: {command: [x, \"<${{ params.p }}>\"]}}\n"))
		if err != nil {
			t.Fatal(err)
		}
		p, err := f.Bind(map[string]string{"p": value}, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := p.ResolveCommand(p.Modules[0], Scope{})
		if err != nil || r.Args[1] != "<"+value+">" {
			t.Fatalf("%q became %q, %v", value, r.Args, err)
		}
	})
}

// Rewriting keeps the number of characters, so that positions stay.
func TestNormaliseKeepsPositions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := strings.Join(rapid.SliceOf(rapid.SampledFrom([]string{
			"a", ".", "-", "b-c", "'", "\"", "`", "\\", "contains", "startsWith", "(", ")", " ", "not", "é", "1", "..", "?.", "[", "]", "{", "}", "#", "$",
		})).Draw(t, "pieces"), "")
		if got := normalise(src); len([]rune(got)) != len([]rune(src)) {
			t.Fatalf("%q became %q", src, got)
		}
	})
}

// FuzzParse: no file makes Parse, Bind or what follows panic.
func FuzzParse(f *testing.F) {
	for _, dir := range []string{"good", "bad", "semantic"} {
		paths, _ := filepath.Glob(filepath.Join("testdata", dir, "*.yaml"))
		for _, p := range paths {
			b, err := os.ReadFile(p)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		file, err := Parse("f.yaml", src)
		if err != nil {
			_ = err.Error()
			return
		}
		p, err := file.Bind(nil, nil)
		if err != nil {
			_ = err.Error()
			return
		}
		if _, err := p.Select(Selection{Only: []string{p.Modules[0].Name}}); err != nil {
			t.Errorf("a module cannot be selected: %v", err)
		}
		for _, m := range p.Modules {
			_, _ = p.Condition(m, Scope{})
			_, _ = p.ResolveCommand(m, Scope{})
			_, _ = p.ResolveFiles(m, Scope{HashFiles: func([]string) (string, error) { return "x", nil }})
			_, _ = p.ResolveKey(m, Scope{})
			_ = append(m.ConditionReads(), m.TextReads()...)
			if m.Dynamic != nil {
				_, _ = p.Combinations(m, Scope{})
			}
		}
	})
}
