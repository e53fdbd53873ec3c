//go:build !race

package simulate_test

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

var update = flag.Bool("update", false, "write bugs.md, and write into each bug the seed that finds it")

// findWithin is the number of steps within which the simulation must find a bug.
const findWithin = 30_000_000

// bug is a change to the source that breaks a rule.
type bug struct {
	path, name, why, file, old, new string

	// seed is the seed of a world that found the bug. The search starts there. It
	// continues with other worlds when that one no longer finds the bug. Empty
	// means 1.
	seed string
}

// find is a bug that the simulation found.
type find struct {
	bug
	steps, text string
	at          moment
}

// moment is a step of the world of a seed.
type moment struct{ seed, step string }

// TestPlantedBugsAreFound builds the simulation with one bug at a time in the
// real source. It runs each until the simulation finds a broken promise.
func TestPlantedBugsAreFound(t *testing.T) {
	files, err := filepath.Glob("testdata/bugs/*.bug")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d bugs, %v", len(files), err)
	}
	var mu sync.Mutex
	var finds []find
	t.Run("bugs", func(t *testing.T) {
		for _, f := range files {
			t.Run(strings.TrimSuffix(filepath.Base(f), ".bug"), func(t *testing.T) {
				t.Parallel()
				found := readBug(t, f).find(t)
				if *update {
					if err := found.note(); err != nil {
						t.Fatal(err)
					}
				}
				mu.Lock()
				finds = append(finds, found)
				mu.Unlock()
			})
		}
	})
	if *update && len(finds) == len(files) {
		slices.SortFunc(finds, func(a, b find) int { return strings.Compare(a.name, b.name) })
		if err := os.WriteFile("bugs.md", []byte(table(finds)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// note writes the seed that found the bug into its file.
func (f find) note() error {
	text := fmt.Sprintf("why: %s\nfile: %s\nseed: %s\n--- old\n%s\n--- new\n%s\n", f.why, f.file, f.at.seed, f.old, f.new)
	return os.WriteFile(f.path, []byte(text), 0o600)
}

func readBug(t *testing.T, path string) bug {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), "--- old\n")
	old, replacement, ok2 := strings.Cut(rest, "--- new\n")
	m := regexp.MustCompile(`^why: (.+)\nfile: (.+)\n(?:seed: (\d+)\n)?$`).FindStringSubmatch(head)
	if !ok || !ok2 || m == nil {
		t.Fatalf("%s does not have the form why, file, seed, old, new", path)
	}
	// The last line feed belongs to the file. A text may end within a line.
	old, replacement = strings.TrimSuffix(old, "\n"), strings.TrimSuffix(replacement, "\n")
	return bug{path, strings.TrimSuffix(filepath.Base(path), ".bug"), m[1], m[2], old, replacement, m[3]}
}

var verdict = regexp.MustCompile(`FAILED after (\d+) steps: (.+) \(seed (\d+), step (\d+)\); reproduce`)

// find plants the bug and runs the simulation until it finds it.
func (b bug) find(t *testing.T) find {
	t.Helper()
	program := b.build(t)
	out, err := exec.CommandContext(t.Context(), program, "-seed", cmp.Or(b.seed, "1"), "-steps", fmt.Sprint(findWithin)).CombinedOutput()
	m := verdict.FindStringSubmatch(string(out))
	if err == nil || m == nil {
		t.Fatalf("not found within %d steps (%v): %.2000s", findWithin, err, out)
	}
	t.Logf("found after %s steps: %s", m[1], m[2])
	return find{b, m[1], m[2], moment{m[3], m[4]}}
}

// build builds the simulation from the source with the bug.
func (b bug) build(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir, file := t.TempDir(), filepath.Join(root, filepath.FromSlash(b.file))
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), b.old); n != 1 {
		t.Fatalf("its old text occurs %d times in %s, want once: the source has changed; change the bug, too", n, b.file)
	}
	changed := filepath.Join(dir, filepath.Base(file))
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {file: changed}})
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{
		changed: strings.Replace(string(source), b.old, b.new, 1), filepath.Join(dir, "overlay.json"): string(overlay),
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(dir, "simulate")
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, "./test/simulate/cmd")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("the source with the bug does not compile: %v\n%s", err, out)
	}
	return program
}

func table(finds []find) string {
	var b strings.Builder
	b.WriteString(`# Planted bugs

A test plants each bug of testdata/bugs alone in the real source. The simulation starts with the seed in the bug's file,
which found the bug before. The column "steps" is the number of steps until the simulation finds the bug. The column
"again" repeats the violation while the bug is in place. This page is written by
` + "`go test ./test/simulate -run Planted -update`" + `.

| bug | fault | file | steps | violation | again |
|---|---|---|---|---|---|
`)
	for _, f := range finds {
		text := f.text
		if head, _, cut := strings.Cut(text, ", now that "); cut {
			text = head
		}
		if head, _, cut := strings.Cut(text, " without faults, and "); cut {
			text = head + " without faults: a run has not ended"
		}
		fmt.Fprintf(&b, "| %s | %s | `%s` | %s | %s | `SEED=%s STEPS=%s` |\n", f.name, f.why, f.file, f.steps, text, f.at.seed, f.at.step)
	}
	return b.String()
}
