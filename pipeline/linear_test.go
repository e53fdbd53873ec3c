package pipeline

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// many repeats a format, with the number in it where it asks for it.
func many(n int, format string) string {
	words := make([]string, n)
	for i := range words {
		words[i] = strings.ReplaceAll(format, "#", fmt.Sprint(i))
	}
	return strings.Join(words, ", ")
}

// linearFiles are files with n of something, without a fault or with many.
var linearFiles = map[string]func(n int) string{
	"expressions of a line": func(n int) string {
		return "params: {p: {default: x}}\nmodules:\n  a: {run: x, env: {X: '" + strings.Repeat("${{ params.p }}", n) + "'}}\n"
	},
	"expressions of as many parameters": func(n int) string {
		return "params: {" + many(n, "p#: {default: x}") + "}\nmodules:\n  a: {run: x, env: {" + many(n, "V#: '${{ params.p# }}'") + "}}\n"
	},
	"modules that read as many parameters": func(n int) string {
		return "params: {" + many(n, "p#: {default: x}") + "}\nmodules: {" + many(n, "m#: {run: x, env: {V: '${{ params.p# }}'}}") + "}\n"
	},
	"expressions of as many needs": func(n int) string {
		return "modules: {" + many(n, "n#: {run: x, outputs: [o]}") + ", m: {run: x, needs: [" + many(n, "n#") + "], env: {" + many(n, "V#: '${{ needs.n#.outputs.o }}'") + "}}}\n"
	},
	"readers of a need with as many outputs": func(n int) string {
		return "modules: {n: {run: x, outputs: [" + many(n, "o#") + "]}, " + many(n, "m#: {run: x, needs: [n]}") + "}\n"
	},
	"cycles of two": func(n int) string {
		return "modules: {" + many(n, "a#: {run: x, needs: [b#]}, b#: {run: x, needs: [a#]}") + "}\n"
	},
	"modules behind a cycle": func(n int) string {
		return "modules: {m: {run: x, needs: [k]}, k: {run: x, needs: [m]}, z: {run: x, needs: [k]}, " + many(n, "z#: {run: x, needs: [z]}") + "}\n"
	},
	"axes of include": func(n int) string {
		return "modules: {m: {run: x, matrix: {a: [1], include: [" + many(n, "{a#: 1}") + "]}}}\n"
	},
	"axes": func(n int) string { return "modules: {m: {run: x, matrix: {" + many(n, "a#: [1]") + "}}}\n" },
}

// Four times as much takes about four times the memory; work that is done
// for each pair takes sixteen times as much.
func TestValidationAllocatesInProportion(t *testing.T) {
	for name, file := range linearFiles {
		t.Run(name, func(t *testing.T) {
			small, large := allocated(t, file(300)), allocated(t, file(1200))
			if large > 9*small {
				t.Errorf("%d bytes for 300, %d for 1200", small, large)
			}
		})
	}
}

// allocated is how many bytes a validation allocates.
func allocated(t *testing.T, file string) uint64 {
	t.Helper()
	src := []byte("name: a\n" + file)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if f, err := Parse("a.yaml", src); err == nil {
		if _, err := f.Bind(nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestCorrectionsAreForTheFirstHundredFaults(t *testing.T) {
	_, err := Parse("a.yaml", []byte("name: a\nmodules: {abc: {run: x}, "+many(300, "m#: {run: x, needs: [abd]}")+"}\n"))
	faults, _ := err.(Faults) //nolint:errorlint // documented: it is one
	suggested := 0
	for _, f := range faults {
		if f.Suggestion != "" {
			suggested++
		}
	}
	if len(faults) != 300 || suggested != MaxSuggestions {
		t.Errorf("%d faults, %d with a correction", len(faults), suggested)
	}
}

func TestProgramHasNoMoreFaultsThanAFile(t *testing.T) {
	p := &Pipeline{Name: "a"}
	for i := range 3000 {
		p.Modules = append(p.Modules, &Module{Name: fmt.Sprint("m", i), Slots: 1, Needs: []Need{{Module: fmt.Sprint("x", i)}}, Func: &Func{}, Policy: DefaultPolicy()})
	}
	faults, _ := Assemble(p, nil).(Faults) //nolint:errorlint // documented: it is one
	if len(faults) != MaxFaults {
		t.Errorf("%d faults", len(faults))
	}
}

func TestDefaultsAndMembersAreBounded(t *testing.T) {
	for name, file := range map[string]string{
		"defaults": "defaults: {env: {" + many(2000, "K#: v") + "}}\nmodules: {" + many(2000, "m#: {run: x}") + "}\n",
		"members":  "modules: {m: {run: x, env: {" + many(2000, "K#: v") + "}, matrix: {a: [" + many(2000, "#") + "]}}}\n",
	} {
		f, err := Parse("a.yaml", []byte("name: a\n"+file))
		if err == nil {
			_, err = f.Bind(nil, nil)
		}
		if err == nil || !strings.Contains(err.Error(), "more than 2000000 values") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestByteOrderMarkCountsForNoColumn(t *testing.T) {
	_, err := Parse("a.yaml", []byte("\uFEFFnam: a\nmodules: {a: {run: x}}\n"))
	if err == nil || !strings.Contains(err.Error(), "a.yaml:1:1: unknown key \"nam\"") {
		t.Error(err)
	}
}

// A matrix may be as large as its own bound allows: it is no part of a member.
func TestFamilyOfMostMembersIsValid(t *testing.T) {
	for name, matrix := range map[string]string{
		"one axis": "{a: [" + many(maxMembers, "#") + "]}",
		"two axes": "{a: [" + many(100, "#") + "], b: [" + many(100, "#") + "]}",
		"excludes": "{a: [" + many(maxMembers, "#") + "], exclude: [" + many(5000, "{a: #}") + "]}",
	} {
		f, err := Parse("a.yaml", []byte("name: a\nmodules: {m: {run: x, matrix: "+matrix+"}}\n"))
		if err == nil {
			_, err = f.Bind(nil, nil)
		}
		if err != nil {
			t.Errorf("%s: %.200v", name, err)
		}
	}
}
