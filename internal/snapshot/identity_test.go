package snapshot

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestNormalise(t *testing.T) {
	for remote, want := range map[string]string{
		"git@github.com:acme/app.git":                       "github.com/acme/app",
		"github.com:acme/app":                               "github.com/acme/app",
		"https://github.com/acme/app":                       "github.com/acme/app",
		"https://user:secret@GitHub.com/acme/app.git/":      "github.com/acme/app",
		"ssh://git@github.com/acme/app.git":                 "github.com/acme/app",
		"ssh://git@git.example.com:2222/acme/app":           "git.example.com/acme/app",
		"https://git.example.com:443/acme/app":              "git.example.com/acme/app",
		"https://git.example.com:8443/acme/app":             "git.example.com:8443/acme/app",
		"git://git.example.com//acme/./app.git":             "git.example.com/acme/app",
		"git@git.example.com:/acme/app.git":                 "git.example.com/acme/app",
		"git@[2001:db8::1]:acme/app":                        "[2001:db8::1]/acme/app",
		"ssh://git@[2001:db8::1]:22/acme/app":               "[2001:db8::1]/acme/app",
		"/srv/git/app.git":                                  "",
		"../app":                                            "",
		"./a:b":                                             "",
		`C:\git\app`:                                        "",
		"file:///srv/git/app.git":                           "",
		"":                                                  "",
		"https://oauth2:t0ken@gitlab.com/group/sub/app.git": "gitlab.com/group/sub/app",
	} {
		if got := normalise(remote); got != want {
			t.Errorf("%q: %q, want %q", remote, got, want)
		}
	}
}

func TestIdentity(t *testing.T) {
	id := func(dir string) string {
		t.Helper()
		got, err := Identity(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	dir := repository(t, files{"d/a": "1"})
	root := git(t, dir, "rev-parse", "HEAD")
	write(t, dir, files{"d/a": "2"})
	commit(t, dir)
	same(t, id(filepath.Join(dir, "d")), "commit:"+root)
	git(t, dir, "remote", "add", "origin", "https://u:p@example.com/a/b.git")
	same(t, id(filepath.Join(dir, "d")), "example.com/a/b")

	plain := filepath.Join(t.TempDir(), "proj")
	write(t, plain, files{"x": ""})
	first := id(plain)
	if !strings.HasPrefix(first, "directory:") || strings.Contains(first, "proj") {
		t.Error(first)
	}
	git(t, plain, "init", "-q") // no commit yet
	same(t, id(plain), first)
	if other := id(t.TempDir()); other == first {
		t.Error("two names have one identity")
	}
}
