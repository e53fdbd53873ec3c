package flags

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSecretsOfFlags(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"token": "in a file", "db": "in a directory"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := func(p string) string { return filepath.Join(dir, p) }
	o := Secrets{Secrets: []string{"A", "B=@token"}, Dir: "."}
	if faults := o.Faults(path, map[string]string{"A": "in the environment"}); len(faults) > 0 {
		t.Fatal(faults)
	}
	for name, want := range map[string]string{"A": "in the environment", "B": "in a file", "db": "in a directory"} {
		if got, err := o.Source().Value(name); got != want || err != nil {
			t.Errorf("%s is %q, %v; want %q", name, got, err, want)
		}
	}
	o = Secrets{Secrets: []string{"A=value", "B"}, Dir: "absent", Rules: "none"}
	faults := strings.Join(o.Faults(path, nil), "\n")
	for _, want := range []string{"--secret: A: a value on the command line", "--secret: B: ", "--secrets-dir: ", "--secret-rules: "} {
		if !strings.Contains(faults, want) {
			t.Errorf("%q is not in %q", want, faults)
		}
	}
	if strings.Contains(faults, "value,") || strings.Contains(faults, "A=value") {
		t.Errorf("a value is in %q", faults)
	}
}
