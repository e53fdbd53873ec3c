package jobs

import (
	"errors"
	"fmt"
	"testing"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/modpipe/modpipe/pipeline"
)

// TestNeedsOfALayerTravelOnce: a thousand times as many needs as modules take
// little on the wire, and in memory behind it.
func TestNeedsOfALayerTravelOnce(t *testing.T) {
	p := &pipeline.Pipeline{Name: "p"}
	for i := range 1000 {
		m := &pipeline.Module{Name: fmt.Sprint("m", i), Slots: 1, Requires: pipeline.Requirements{Program: &pipeline.Program{Name: "p"}}}
		for k := range min(i, 500) {
			m.Needs = append(m.Needs, pipeline.Need{Module: fmt.Sprint("m", k)})
		}
		p.Modules = append(p.Modules, m)
	}
	record := Record{Spec: &Spec{Run: "r", Pipeline: p}}
	data, err := Marshal(&record)
	if err != nil {
		t.Fatal(err)
	}
	if most := 3 << 20; len(data) > most {
		t.Errorf("%d bytes, want at most %d", len(data), most)
	}
	got, err := Unmarshal[Record](data)
	if err != nil {
		t.Fatal(err)
	}
	modules := got.Spec.Pipeline.Modules
	if a, b := modules[600].Needs, modules[999].Needs; len(a) != 500 || &a[0] != &b[0] {
		t.Errorf("two modules with the same %d needs have two lists of them", len(a))
	}
	if a, b := modules[0].Requires.Program, modules[1].Requires.Program; a != b || a.Name != "p" {
		t.Errorf("two modules of program %v have two of it", a)
	}
	if n := modules[3].Needs; len(n) != 3 || n[2].Module != "m2" {
		t.Errorf("m3 needs %v", n)
	}
}

func TestNeedsThatAreNotThere(t *testing.T) {
	list := [][]pipeline.Need{{{Module: "a"}}}
	for name, of := range map[string][]int{"a list that does not exist": {2}, "a negative one": {-1}, "more than modules": {1, 1}} {
		sent := sentSpec{plainSpec: plainSpec{Pipeline: &pipeline.Pipeline{Modules: []*pipeline.Module{{Name: "m"}}}}, Lists: list, Of: of}
		body, err := msgpack.Marshal(map[string]any{"spec": &sent})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Unmarshal[Record](append([]byte{Version}, body...)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFilesNeedANewerVersion: a program that knows no files refuses what has
// some, and reads the rest.
func TestFilesNeedANewerVersion(t *testing.T) {
	for _, c := range []struct {
		name string
		rec  Record
		want byte
	}{
		{"a run without files", Record{Spec: &Spec{Run: "r", Pipeline: &pipeline.Pipeline{Modules: []*pipeline.Module{{Name: "m"}}}}}, 1},
		{"a run with a snapshot", Record{Spec: &Spec{Run: "r", Workspace: &Snapshot{}}}, 2},
		{"a module with an artifact", Record{Spec: &Spec{Run: "r", Pipeline: &pipeline.Pipeline{Modules: []*pipeline.Module{{
			Name: "m", Produce: []pipeline.Produce{{Name: "bin", Paths: []string{"bin/**"}}},
		}}}}}, 2},
		{"an outcome with an artifact", Record{Outcome: &Outcome{Artifacts: []Artifact{{Name: "bin"}}}}, 2},
		{"an outcome without", Record{Outcome: &Outcome{}}, 1},
	} {
		data, err := Marshal(&c.rec)
		if err != nil || data[0] != c.want {
			t.Errorf("%s: version %d, %v; want %d", c.name, data[0], err, c.want)
		}
	}
	data, err := Marshal(&Job{Files: &JobFiles{}})
	if err != nil || data[0] != 2 {
		t.Errorf("a job with files: version %d, %v", data[0], err)
	}
}

// TestKeysNeedANewerVersion: an older worker refuses a job with a key, and an older
// orchestrator the log of a run that has keys. Without keys both read them.
func TestKeysNeedANewerVersion(t *testing.T) {
	job, takeover := Job{Run: "r1", Module: "m", Attempt: 1}, Record{Takeover: &Takeover{Epoch: 1}}
	for _, want := range []byte{first, withKeys} {
		j, err := Marshal(&job)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Marshal(&takeover)
		if err != nil {
			t.Fatal(err)
		}
		if j[0] != want || r[0] != want {
			t.Errorf("versions %d and %d, want %d", j[0], r[0], want)
		}
		job.Key, takeover.Takeover.Key = []byte{1}, "k"
	}
}
