package modpipe_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Mistakes that the compiler finds: each package of testdata/compile has one,
// in the line that says ERROR and what the compiler says.
func TestCompilerFindsMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/compile/*/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	args := []string{"build", "-o", os.DevNull}
	for _, f := range files {
		args = append(args, "./"+filepath.ToSlash(filepath.Dir(f)))
	}
	text, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput()
	if err == nil {
		t.Fatal("the compiler has found nothing")
	}
	for _, f := range files {
		line, want := expected(t, f)
		place := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(filepath.ToSlash(f)) + `:(\d+):\d+: (.*)$`)
		found := place.FindAllStringSubmatch(string(text), -1)
		if len(found) == 0 {
			t.Errorf("%s: compiles\n%s", f, text)
			continue
		}
		if found[0][1] != line || !regexp.MustCompile(want).MatchString(found[0][2]) {
			t.Errorf("%s:%s: want %q, got line %s: %s", f, line, want, found[0][1], found[0][2])
		}
	}
}

// expected is what a fixture says that the compiler says, and where.
func expected(t *testing.T, file string) (line, want string) {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range strings.Split(string(src), "\n") {
		if _, text, ok := strings.Cut(l, "// ERROR "); ok {
			return itoa(i + 1), text
		}
	}
	t.Fatalf("%s has no ERROR", file)
	return "", ""
}
