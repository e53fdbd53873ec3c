package snapshot

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modpipe/modpipe/internal/tree"
)

func TestMain(m *testing.M) {
	for _, v := range []string{"GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"} {
		_ = os.Setenv(v, os.DevNull)
	}
	for _, who := range []string{"AUTHOR", "COMMITTER"} { // for the git commands of tests only
		_ = os.Setenv("GIT_"+who+"_NAME", "a")
		_ = os.Setenv("GIT_"+who+"_EMAIL", "a@example.com")
		_ = os.Setenv("GIT_"+who+"_DATE", "2026-01-02T03:04:05Z")
	}
	os.Exit(m.Run())
}

// git runs git in dir and returns what it prints.
func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", append([]string{"-c", "protocol.file.allow=always", "-c", "init.defaultBranch=main"}, args...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// write writes files: path → content. A path that ends with / is an empty
// directory, a content "-> x" is a link, a content "#!…" is executable.
func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		p := filepath.Join(dir, name)
		fail := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		fail(os.MkdirAll(filepath.Dir(p), 0o755))
		target, link := strings.CutPrefix(content, "-> ")
		switch {
		case strings.HasSuffix(name, "/"):
			fail(os.MkdirAll(p, 0o755))
		case link:
			fail(os.Symlink(target, p))
		case strings.HasPrefix(content, "#!"):
			fail(os.WriteFile(p, []byte(content), 0o755))
		default:
			fail(os.WriteFile(p, []byte(content), 0o644))
		}
	}
}

// repository returns a repository whose only commit has these files.
func repository(t testing.TB, files map[string]string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	git(t, dir, "init", "-q")
	write(t, dir, files)
	commit(t, dir)
	return dir
}

func commit(t testing.TB, dir string) {
	t.Helper()
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-qm", "x", "--allow-empty")
}

func take(t testing.TB, o Options) *Result {
	t.Helper()
	r, err := Take(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// contents returns what a tree holds in the form of write, with contents read by
// Open.
func contents(t testing.TB, r *Result, in *tree.Tree) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, f := range in.Files {
		switch f.Kind {
		case tree.Directory:
			all[f.Path+"/"] = ""
		case tree.Link:
			all[f.Path] = "-> " + f.Target
		case tree.Regular, tree.Executable:
			all[f.Path] = readAll(t, r, f)
			if (f.Kind == tree.Executable) != strings.HasPrefix(all[f.Path], "#!") {
				t.Errorf("%s: kind %v", f.Path, f.Kind)
			}
		}
	}
	return all
}

func readAll(t testing.TB, r *Result, f tree.File) string {
	t.Helper()
	c, err := r.Open(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func same[T any](t testing.TB, got, want T) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// says fails unless text contains every part.
func says(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q is missing in:\n%s", p, text)
		}
	}
}

// shell runs a script in dir.
func shell(t testing.TB, dir, script string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-euc", script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}
