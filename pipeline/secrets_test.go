package pipeline

import (
	"slices"
	"strings"
	"testing"
)

func TestAResultDoesNotChooseASecret(t *testing.T) {
	f, err := Parse("p.yaml", []byte(`
name: t
modules:
  list: {run: x, outputs: [list]}
  each:
    needs: [list]
    matrix: {stage: "${{ fromJSON(needs.list.outputs.list) }}"}
    run: x
    secrets: [{FIXED: {name: key}}, {TOKEN: {name: "token-${{ matrix.stage }}"}}]
`))
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Bind(nil, nil)
	if err == nil || !strings.HasPrefix(err.Error(), "p.yaml:9:52: the name of a secret must be known before the run") {
		t.Errorf("%v", err)
	}
}

func TestMembersHaveTheSecretsOfTheirFamily(t *testing.T) {
	f, err := Parse("p.yaml", []byte(`
name: t
modules:
  list: {run: x, outputs: [list]}
  static: {run: x, matrix: {stage: [dev, prod]}, secrets: {TOKEN: {name: "token-${{ matrix.stage }}", from: worker}}}
  each: {needs: [list], matrix: {stage: "${{ fromJSON(needs.list.outputs.list) }}"}, run: x, secrets: {DB: {name: db, from: worker}}}
`))
	if err != nil {
		t.Fatal(err)
	}
	p, err := f.Bind(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"", "token-dev", "token-prod", "db"} {
		m := p.Modules[i]
		if got := strings.Join(m.Requires.Secrets, " "); got != want || want != "" && m.Secrets[0].Name != want {
			t.Errorf("%s requires the secrets %q and has %v, want %q", m.Name, got, m.Secrets, want)
		}
	}
	family := p.Modules[3]
	if _, err := p.Combinations(family, Scope{Needs: map[string]NeedView{"list": {Status: "succeeded", Outputs: map[string]string{"list": `["a"]`}}}}); err != nil {
		t.Fatal(err)
	}
	members, err := p.Members(family, [][]Coordinate{{{"stage", "a"}}})
	if err != nil || len(members) != 1 || len(members[0].Secrets) != 1 || !slices.Equal(members[0].Requires.Secrets, []string{"db"}) {
		t.Errorf("members %+v, %v", members, err)
	}
}

func TestASecretIsNamedByAll(t *testing.T) {
	s := Secret{Env: "CERT", Name: "cert", File: true, FromWorker: true}
	if got, want := s.String(), "CERT=cert (file, from worker)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestSecretsOfAProgramAreChecked(t *testing.T) {
	m := &Module{
		Name: "m", Slots: 1, Policy: DefaultPolicy(), Command: &Command{Run: "x", Shell: "sh", Env: []Var{{Name: "A"}}},
		Secrets: []Secret{{Env: "A", Name: "A"}, {Env: "B", Name: "../b"}, {Env: "B", Name: "b", FromWorker: true}, {Env: "1", Name: "one"}},
	}
	err := Assemble(&Pipeline{Name: "p", Modules: []*Module{m}}, nil)
	for _, want := range []string{"m: A is a secret, and is set in the environment too", `"../b" is not the name of a secret`, "two secrets have the variable B", `"1" is not the name of an environment variable`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if !slices.Equal(m.Requires.Secrets, []string{"b"}) {
		t.Errorf("requires %v", m.Requires.Secrets)
	}
}
