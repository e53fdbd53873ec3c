package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var parcelModules = all(succeeded, "build", "part (i=0)", "part (i=1)", "open-one", "open-two", "restored", "all", "command")

// parcels runs the program whose modules hand files to each other, and checks what
// they have read.
func (p *place) parcels(t *testing.T, path string, args ...string) {
	t.Helper()
	r := p.startProgram(t, path, append([]string{"--param", "dir=" + t.TempDir()}, args...)...)
	r.result(t).want(t, 0, parcelModules)
	for module, want := range map[string]string{"open-one": "a 2097152", "open-two": "a 2097152", "restored": "a", "all": "part 0, part 1"} {
		if got := resultOf(t, r.reportFile, module); got != want {
			t.Errorf("%q: %s has read %q, want %q", args, module, got, want)
		}
	}
}

func TestGoModulesHandFilesToEachOther(t *testing.T) {
	path := goProgram(t, "./test/e2e/testdata/parcels")
	for _, args := range [][]string{nil, {"--isolated"}} {
		t.Run("standalone "+strings.Join(args, " "), func(t *testing.T) {
			p := newPlace(t, standalone)
			p.parcels(t, path, append(args, "--max-parallel", "2")...)
		})
	}
	t.Run("two workers that share nothing", func(t *testing.T) {
		p := newPlace(t, workers)
		p.server(t)
		p.programApart(t, path, "one", "--max-parallel", "1")
		p.programApart(t, path, "two", "--max-parallel", "1", "--isolated")
		p.parcels(t, path)
	})
}

// programApart starts a worker of a program that shares nothing with others.
func (p *place) programApart(t *testing.T, path, name string, args ...string) {
	t.Helper()
	home := p.homeOf(name)
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	env := p.env("HOME="+home, "XDG_CACHE_HOME="+filepath.Join(home, "cache"), "XDG_STATE_HOME="+filepath.Join(home, "state"))
	start(t, home, env, path, append([]string{"worker", "--server", p.url, "--name", name}, args...)...)
}
