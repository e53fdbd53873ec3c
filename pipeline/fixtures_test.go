package pipeline

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"
)

var update = flag.Bool("update", false, "write the golden files")

// fixtures reads testdata/DIR/*.yaml, which must not be empty.
func fixtures(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", dir, "*.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no fixtures in testdata/%s: %v", dir, err)
	}
	files := map[string][]byte{}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimSuffix(filepath.Base(p), ".yaml")] = b
	}
	return files
}

// golden compares with testdata/DIR/NAME.EXT.
func golden(t *testing.T, path, got string) {
	t.Helper()
	path = filepath.Join("testdata", path)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; go test -update writes it):\n%s", path, diff)
	}
}

func TestGoodFilesBind(t *testing.T) {
	for name, src := range fixtures(t, "good") {
		t.Run(name, func(t *testing.T) {
			f, err := Parse(name+".yaml", src)
			if err != nil {
				t.Fatal(err)
			}
			p, err := f.Bind(nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range p.Modules {
				if m.Dynamic != nil {
					m.Dynamic.Template = nil // its encoding is our own affair
				}
			}
			b, err := json.MarshalIndent(p, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "good/"+name+".json", string(b)+"\n")
		})
	}
}

func TestBadFilesSayWhatIsWrong(t *testing.T) {
	for _, dir := range []string{"bad", "semantic"} {
		for name, src := range fixtures(t, dir) {
			t.Run(dir+"/"+name, func(t *testing.T) {
				_, err := Parse(name+".yaml", src)
				if err == nil {
					t.Fatal("no fault was found")
				}
				faults, ok := errors.AsType[Faults](err)
				if !ok {
					t.Fatalf("a %T, not Faults", err)
				}
				for _, f := range faults {
					if f.Line < 1 || f.Column < 1 || f.Text == "" {
						t.Errorf("a fault without its place: %+v", f)
					}
				}
				golden(t, dir+"/"+name+".faults", err.Error()+"\n")
			})
		}
	}
}

// What the schema refuses, Parse refuses; what Parse takes, the schema takes.
func TestSchemaAgreesWithParse(t *testing.T) {
	schema := resolvedSchema(t)
	for name, src := range fixtures(t, "good") {
		if err := schema.Validate(value(t, src)); err != nil {
			t.Errorf("good/%s: the schema refuses it: %v", name, err)
		}
	}
	for name, src := range fixtures(t, "bad") {
		if err := schema.Validate(value(t, src)); err == nil {
			t.Errorf("bad/%s: the schema takes it", name)
		}
	}
}

func TestSchemaGolden(t *testing.T) {
	b, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "schema.json", string(b))
}

func resolvedSchema(t *testing.T) *jsonschema.Resolved {
	t.Helper()
	b, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	r, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// value is a file as JSON would have it.
func value(t *testing.T, src []byte) any {
	t.Helper()
	c := newCollector(newFileText("x", src))
	n := readTree(c, src)
	if n == nil || len(c.list) > 0 {
		t.Fatal(c.err())
	}
	return plainValue(n)
}

func plainValue(n *node) any {
	switch n.Kind {
	case listNode:
		list := []any{}
		for _, item := range n.Items {
			list = append(list, plainValue(item))
		}
		return list
	case mapNode:
		m := map[string]any{}
		for i, k := range n.Keys {
			m[k.Value] = plainValue(n.Items[i])
		}
		return m
	case nullNode:
		return nil
	default:
		return plainScalar(n)
	}
}

func plainScalar(n *node) any {
	if f, err := strconv.ParseFloat(n.Value, 64); err == nil && (n.Type == "int" || n.Type == "float") {
		return f
	}
	if n.Type == "bool" {
		return strings.EqualFold(n.Value, "true")
	}
	return n.Value
}
