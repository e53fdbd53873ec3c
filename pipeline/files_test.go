package pipeline

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const filesOfNeeds = `name: t
modules:
  gen: {run: x, outputs: [v, dir]}
  b:
    needs: [gen]
    run: x
    artifacts:
      produce: [{name: "bin-${{ needs.gen.outputs.v }}", path: ["${{ needs.gen.outputs.dir }}/**", "!x"]}, {name: bin-2, path: y}]
      consume: [{from-run: latest, name: "${{ needs.gen.outputs.v }}", to: "${{ needs.gen.outputs.dir }}"}]
    cache: {inputs: ["**/*.go"], portable: true, key: ["${{ hashFiles('go.sum') }}"]}
    cache-dirs:
      mod: {env: M, key: "m-${{ hashFiles('go.sum', 'a/') }}", restore: ["${{ needs.gen.outputs.v }}-"]}
`

func filesScope(v, dir string) Scope {
	return Scope{
		Needs:     map[string]NeedView{"gen": {Status: "succeeded", Outputs: map[string]string{"v": v, "dir": dir}}},
		HashFiles: func(globs []string) (string, error) { return strings.Join(globs, "+"), nil },
	}
}

func TestResolveFilesPutsValuesIn(t *testing.T) {
	p := bind(t, filesOfNeeds)
	m := p.Modules[1]
	got, err := p.ResolveFiles(m, filesScope("1", "out/"))
	if err != nil {
		t.Fatal(err)
	}
	want := Files{
		Produce:   []Produce{{Name: "bin-1", Paths: []string{"out/**", "!x"}}, {Name: "bin-2", Paths: []string{"y"}}},
		Consume:   []Consume{{Name: "1", To: "out", FromRun: &FromRun{Pipeline: "t"}}},
		CacheDirs: []CacheDir{{Name: "mod", Env: "M", Key: "m-go.sum+a/**", Restore: []string{"1-"}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if m.Produce[0].Name != "bin-${{ needs.gen.outputs.v }}" || m.CacheDirs[0].Restore[0] == "1-" {
		t.Error("ResolveFiles changed the module")
	}
	if key, err := p.ResolveKey(m, filesScope("1", "x")); err != nil || len(key) != 1 || key[0] != "go.sum" {
		t.Errorf("key %q, %v", key, err)
	}
	if known := m.KnownArtifacts(); len(known) != 1 || known[0].Name != "bin-2" {
		t.Errorf("known %+v", known)
	}
	if !m.HashesFiles() || p.Modules[0].HashesFiles() {
		t.Error("HashesFiles is wrong")
	}
	if reads := m.TextReads(); len(reads) != 1 || reads[0] != "gen" {
		t.Errorf("reads %q", reads)
	}
}

func TestResolveFilesChecksValues(t *testing.T) {
	p := bind(t, filesOfNeeds)
	for _, c := range []struct{ v, dir, want string }{
		{"a b", "x", "t.yaml:8:32: produce[0].name: bin-${{ needs.gen.outputs.v }}: \"bin-a b\" is not the name of an artifact"},
		{"1", "../x", `t.yaml:8:69: produce[0].path[0]: ${{ needs.gen.outputs.dir }}/**: "../x/**" leaves the workspace`},
		{"1", "/x", "is absolute"},
		{"2", "x", `two artifacts of the module are named "bin-2"`},
	} {
		_, err := p.ResolveFiles(p.Modules[1], filesScope(c.v, c.dir))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("v=%q dir=%q: got %v, want %s", c.v, c.dir, err, c.want)
		}
	}
}

func TestHashFilesFailsTheReader(t *testing.T) {
	p := bind(t, filesOfNeeds)
	s := filesScope("1", "x")
	s.HashFiles = func([]string) (string, error) { return "", errors.New("go.sum: gone") }
	if _, err := p.ResolveFiles(p.Modules[1], s); err == nil || !strings.Contains(err.Error(), "cache-dirs.mod.key") || !strings.Contains(err.Error(), "gone") {
		t.Errorf("got %v", err)
	}
	s.HashFiles = nil
	if _, err := p.ResolveKey(p.Modules[1], s); err == nil || !strings.Contains(err.Error(), "no snapshot") {
		t.Errorf("got %v", err)
	}
}

func TestArtifactsAreCheckedWhenParametersAreKnown(t *testing.T) {
	src := `name: t
params: {what: {default: bin}}
modules:
  a: {run: x, artifacts: {produce: {bin: x, "x-${{ params.what }}": y}}}
  m: {run: x, matrix: {os: [linux]}, artifacts: {produce: {"bin-${{ matrix.os }}": x}}}
  b: {run: x, needs: [a, m], artifacts: {consume: ["${{ params.what }}", bin-linux, "x-*"]}}
`
	f, err := Parse("t.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Bind(nil, nil); err != nil {
		t.Error(err)
	}
	_, err = f.Bind(map[string]string{"what": "bon"}, nil)
	want := `t.yaml:6:52: no need of b produces "bon"; did you mean "bin"?`
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	_, err = f.Bind(map[string]string{"what": "../x"}, nil)
	if err == nil || !strings.Contains(err.Error(), `"x-../x" is not the name of an artifact`) {
		t.Errorf("got %v", err)
	}
}

func TestConsumeSameNeedsAMember(t *testing.T) {
	src := `name: t
modules:
  a: {run: x, matrix: {os: [linux]}, artifacts: {produce: {bin: x}}}
  b: {run: x, needs: [a], matrix: {os: [linux, windows]}, artifacts: {consume: [{name: bin, same: [os]}]}}
`
	f, err := Parse("t.yaml", []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Bind(nil, nil)
	want := `b (os=windows) consumes "bin" of the members of a with the same os, and there are none`
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestMembersOfADynamicFamilyProduceTheirOwn(t *testing.T) {
	p := bind(t, `name: t
modules:
  list: {run: x, outputs: [l]}
  b:
    needs: [list]
    matrix: {s: "${{ fromJSON(needs.list.outputs.l) }}"}
    run: x
    artifacts: {produce: {"out-${{ matrix.s }}": "${{ matrix.s }}/**"}}
  c: {run: x, needs: [b], artifacts: {consume: [{name: "out-*", merge: true}]}}
`)
	m := p.Modules[1]
	members, err := p.Members(m, [][]Coordinate{{{"s", "a"}}, {{"s", "b"}}})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Late) != 2 || len(members[1].Late) != 0 || members[1].Produce[0].Name != "out-b" || members[1].Produce[0].Paths[0] != "b/**" {
		t.Errorf("placeholder %+v, member %+v", m.Late, members[1].Produce)
	}
	if _, err := p.Members(m, [][]Coordinate{{{"s", "a b"}}}); err == nil || !strings.Contains(err.Error(), "is not the name of an artifact") {
		t.Errorf("got %v", err)
	}
}
