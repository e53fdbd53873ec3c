package pipeline

import (
	"strings"
	"testing"
)

func TestLiteralSecretsAreDoubted(t *testing.T) {
	f, err := Parse("p.yaml", []byte(`
name: x
params: {p: {}}
env: {NPM_TOKEN: abc, KEYBOARD: us}
defaults: {env: {DB_PASSWORD_FILE: /x, DB_PASSWORD_2: x}}
modules:
  a: {run: 'true', env: {api_key: abc, EMPTY_TOKEN: "", READ_TOKEN: "${{ params.p }}", PATH_KEYS: x}}
  b: {run: 'true'}
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range f.Warnings() {
		name, rest, _ := strings.Cut(w.Text, " ")
		got = append(got, name)
		if rest != "looks like a secret, and values of env are in the log of the run" || !strings.Contains(w.Suggestion, "secrets") {
			t.Errorf("%+v", w)
		}
	}
	if want := "NPM_TOKEN DB_PASSWORD_2 api_key"; strings.Join(got, " ") != want {
		t.Errorf("warns of %q, want %q", got, want)
	}
}

func TestGivenSecretsAreDoubted(t *testing.T) {
	got := DoubtVariables([]KeyValue{{Key: "NPM_TOKEN", Value: "abc"}, {Key: "EMPTY_TOKEN"}, {Key: "PLAIN", Value: "x"}})
	if len(got) != 1 || !strings.HasPrefix(got[0].String(), "--env: NPM_TOKEN looks like a secret") || strings.Contains(got[0].String(), "abc") {
		t.Errorf("%v", got)
	}
}
