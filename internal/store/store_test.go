package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSecretsOfOthersAreRefused checks a token that other users may know.
func TestSecretsOfOthersAreRefused(t *testing.T) {
	st := &Dir{Path: t.TempDir()}
	if _, path, err := st.Token(); err != nil {
		t.Fatal(err)
	} else if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := st.Token(); err == nil || !strings.Contains(err.Error(), "0600") {
		t.Errorf("a token that all can read: %v", err)
	}
	if err := os.Remove(filepath.Join(st.Path, "token")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(st.Path, "elsewhere"), filepath.Join(st.Path, "token")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := st.Token(); err == nil {
		t.Error("a token behind a symbolic link is accepted")
	}
	_, pin, err := st.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	if _, again, err := st.Certificate(); err != nil || again != pin {
		t.Errorf("the second certificate differs from the first: %s, %s, %v", pin, again, err)
	}
}

// TestTemporaryStoreMustBeOurs checks the store of a user without HOME. Its name is
// predictable, so only a closed directory of this user is accepted.
func TestTemporaryStoreMustBeOurs(t *testing.T) {
	for name, c := range map[string]struct {
		make func(top string) error
		want string
	}{
		"none":          {func(string) error { return nil }, ""},
		"ours":          {func(top string) error { return os.Mkdir(top, 0o700) }, ""},
		"open":          {func(top string) error { return errors.Join(os.Mkdir(top, 0o700), os.Chmod(top, 0o755)) }, "mode 0755"},
		"symbolic link": {func(top string) error { return os.Symlink(t.TempDir(), top) }, "symbolic link"},
		"file":          {func(top string) error { return os.WriteFile(top, nil, 0o600) }, "not a directory"},
	} {
		t.Setenv("TMPDIR", t.TempDir())
		if err := c.make(TemporaryState()); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(StateDir(map[string]string{}), "ws")
		s, err := Hold(dir)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			s.Close()
			if info, err := os.Lstat(TemporaryState()); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("%s: %v, %v", name, info, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "--store") {
			t.Errorf("%s: %v", name, err)
		}
		if err := Exists(dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, read: %v", name, err)
		}
	}
}

// TestStateDirWithoutAUsableHomeIsTemporary checks home directories without write
// permission, as users of containers have.
func TestStateDirWithoutAUsableHomeIsTemporary(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		env  map[string]string
		want string
	}{
		{map[string]string{"HOME": dir}, filepath.Join(dir, ".local/state/modpipe")},
		{map[string]string{"HOME": filepath.Join(dir, "new")}, filepath.Join(dir, "new/.local/state/modpipe")},
		{map[string]string{"HOME": file}, TemporaryState()},
		{map[string]string{}, TemporaryState()},
		{map[string]string{"HOME": file, "XDG_STATE_HOME": file}, filepath.Join(file, "modpipe")},
	} {
		if got := StateDir(c.env); got != c.want {
			t.Errorf("%v: %s, want %s", c.env, got, c.want)
		}
	}
}

func TestStoreHasOneHolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	first, err := Hold(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Announce(Holder{URL: "nats://127.0.0.1:1", Token: "t"}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "server.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("server.json: %v, %v", info.Mode(), err)
	}
	if _, err := Hold(dir); !errors.Is(err, ErrHeld) {
		t.Errorf("held twice: %v", err)
	}
	second, err := HoldOrBorrow(t.Context(), dir)
	if err != nil || !second.Temporary {
		t.Fatalf("a run beside a run: %+v, %v", second, err)
	}
	second.Close()
	if _, err := os.Stat(second.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary store is left: %v", err)
	}
	secret, path, err := first.Token()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("token: %v, %v", info.Mode(), err)
	}
	if again, _, _ := first.Token(); again != secret {
		t.Error("the token does not outlive the run")
	}
	first.Close()
	if _, known := ReadHolder(dir); known {
		t.Error("server.json outlives its process")
	}
	third, err := Hold(dir)
	if err != nil {
		t.Fatal(err)
	}
	third.Close()
}
