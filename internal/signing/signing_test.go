package signing_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/modpipe/modpipe/internal/signing"
)

func ring(t *testing.T, fill ...byte) *signing.Keyring {
	t.Helper()
	var secrets [][]byte
	for _, b := range fill {
		secrets = append(secrets, bytes.Repeat([]byte{b}, signing.Size))
	}
	k, err := signing.NewKeyring(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestKeysDiffer: no two purposes share a key, however their names are cut.
func TestKeysDiffer(t *testing.T) {
	t.Parallel()
	k := ring(t, 1, 2)
	run := k.RunKey(k.ID(), "r")
	keys := map[string]signing.Key{
		"run":                  run,
		"another run":          k.RunKey(k.ID(), "r2"),
		"the other secret":     k.RunKey(k.IDs()[1], "r"),
		"attempt":              signing.AttemptKey(run, "a", 11),
		"another module":       signing.AttemptKey(run, "a1", 1),
		"another attempt":      signing.AttemptKey(run, "a", 1),
		"no attempt":           signing.AttemptKey(run, "a", 0),
		"worker":               k.WorkerKey(k.ID(), "w", "ab"),
		"another incarnation":  k.WorkerKey(k.ID(), "w", "a"),
		"names cut elsewhere":  k.WorkerKey(k.ID(), "wa", "b"),
		"a run like a purpose": k.RunKey(k.ID(), "worker"),
	}
	seen := map[string]string{}
	for name, key := range keys {
		if len(key) != signing.Size {
			t.Errorf("%s: a key of %d bytes", name, len(key))
		}
		if other, ok := seen[string(key)]; ok {
			t.Errorf("%s and %s share a key", name, other)
		}
		seen[string(key)] = name
	}
}

// TestKeyringKnowsItsSecretsByID: the first secret signs, and a run of an unknown
// secret has no key.
func TestKeyringKnowsItsSecretsByID(t *testing.T) {
	t.Parallel()
	both, first, second := ring(t, 1, 2), ring(t, 1), ring(t, 2)
	if both.ID() != first.ID() || both.ID() == second.ID() {
		t.Errorf("ids: %s, of its parts %s and %s", both.ID(), first.ID(), second.ID())
	}
	if got := both.RunKey(second.ID(), "r"); !bytes.Equal(got, second.RunKey(second.ID(), "r")) {
		t.Error("the key of a run depends on the other secrets of the ring")
	}
	if first.RunKey(second.ID(), "r") != nil || (*signing.Keyring)(nil).RunKey(first.ID(), "r") != nil {
		t.Error("a run of an unknown secret has a key")
	}
	if signing.AttemptKey(nil, "m", 1) != nil {
		t.Error("keys follow from no key")
	}
	if strings.Contains(hex.EncodeToString(bytes.Repeat([]byte{1}, signing.Size)), first.ID()) {
		t.Error("the id is a part of the secret")
	}
}

// TestCodeCoversTheWholeMessage: every change of a message, and of the key, changes
// the code.
func TestCodeCoversTheWholeMessage(t *testing.T) {
	t.Parallel()
	k := ring(t, 1)
	run := k.RunKey(k.ID(), "r")
	key := signing.AttemptKey(run, "m", 1)
	m := signing.Message{Subject: "mp.run.r.mod.m", Headers: []string{"Enc: zstd"}, Body: []byte("body")}
	code := m.MAC(key)
	if !m.Verify(key, code) {
		t.Fatal("a code does not verify")
	}
	for name, other := range map[string]signing.Message{
		"subject":       {Subject: "mp.run.r.mod.n", Headers: m.Headers, Body: m.Body},
		"no header":     {Subject: m.Subject, Body: m.Body},
		"header":        {Subject: m.Subject, Headers: []string{"Enc: gzip"}, Body: m.Body},
		"more headers":  {Subject: m.Subject, Headers: []string{"Blob: x", "Enc: zstd"}, Body: m.Body},
		"body":          {Subject: m.Subject, Headers: m.Headers, Body: []byte("bodY")},
		"cut elsewhere": {Subject: m.Subject + "E", Headers: []string{"nc: zstd"}, Body: m.Body},
		"moved":         {Subject: m.Subject, Headers: []string{"Enc: zstd", "body"}},
	} {
		if other.Verify(key, code) {
			t.Errorf("%s is not covered", name)
		}
	}
	for name, bad := range map[string]string{"none": "", "short": code[:62], "no hex": strings.Repeat("z", 64), "longer": code + "00"} {
		if m.Verify(key, bad) {
			t.Errorf("a code that is %s verifies", name)
		}
	}
	if m.Verify(signing.AttemptKey(run, "m", 2), code) || m.Verify(nil, signing.Message{}.MAC(nil)) || m.Verify(nil, m.MAC(nil)) {
		t.Error("verified under another key, or under none")
	}
}

// TestFileIsCreatedOnce: processes that start together use one secret.
func TestFileIsCreatedOnce(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "new", "dir", signing.FileName)
	var wg sync.WaitGroup
	ids := make([]string, 8)
	for i := range ids {
		wg.Go(func() {
			if err := signing.Ensure(file); err != nil {
				t.Error(err)
				return
			}
			k, err := signing.Load(file)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = k.ID()
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id == "" || id != ids[0] {
			t.Fatalf("several secrets: %v", ids)
		}
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	left, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// writeKey writes a file with a mode, whatever the umask is.
func writeKey(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestFileWithoutAKeyIsRefused, without its text in the error.
func TestFileWithoutAKeyIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"short": "abcdef", "empty": "", "words": strings.Repeat("no hex! ", 20)} {
		_, err := signing.Load(writeKey(t, filepath.Join(dir, name), text, 0o600))
		if err == nil || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := signing.Load(filepath.Join(dir, "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if _, err := signing.Load(dir); err == nil {
		t.Error("a directory is no key")
	}
}
