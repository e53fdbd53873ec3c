package draw

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// checkLayout checks the promises of a layout.
func checkLayout(t rapid.TB, sizes []layoutSize, links []layoutLink, l *layout) {
	t.Helper()
	for i, b := range l.boxes {
		if b.x < 0 || b.y < 0 || b.x+b.w > l.width || b.y+b.h > l.height {
			t.Fatalf("box %d %+v is outside of %d × %d", i, b, l.width, l.height)
		}
		if b.w < sizes[i].w || b.h != sizes[i].h {
			t.Fatalf("box %d is %d × %d and wants %+v", i, b.w, b.h, sizes[i])
		}
		for j, c := range l.boxes[:i] {
			if b.x < c.x+c.w && c.x < b.x+b.w && b.y < c.y+c.h && c.y < b.y+b.h {
				t.Fatalf("boxes %d %+v and %d %+v overlap", i, b, j, c)
			}
		}
	}
	for _, link := range withoutTwins(links) {
		from, to := l.boxes[link.from], l.boxes[link.to]
		if from.layer >= to.layer {
			t.Fatalf("link %v goes from layer %d to %d", link, from.layer, to.layer)
		}
		route := l.routes[link]
		if len(route) == 0 {
			t.Fatalf("link %v is not drawn", link)
		}
		checkRoute(t, l, link, route)
	}
}

// checkRoute checks that the segments of a link lead from one end to the other.
func checkRoute(t rapid.TB, l *layout, link layoutLink, route []int) {
	t.Helper()
	from, to := l.boxes[link.from], l.boxes[link.to]
	x, y := from.x+from.w, from.y+from.h/2
	for _, n := range route {
		s := l.segments[n]
		if s.x1 != x || s.y1 != y || s.x2 <= s.x1 || s.optional != link.optional {
			t.Fatalf("link %v: segment %+v does not go on at %d, %d", link, s, x, y)
		}
		x, y = max(s.x2, s.through), s.y2
	}
	if x != to.x || y != to.y+to.h/2 {
		t.Fatalf("link %v ends at %d, %d, and its box is %+v", link, x, y, to)
	}
}

func TestLayoutProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "boxes")
		sizes := make([]layoutSize, n)
		for i := range sizes {
			sizes[i] = layoutSize{rapid.IntRange(1, 300).Draw(t, "w"), rapid.IntRange(1, 90).Draw(t, "h")}
		}
		names := rapid.Permutation(numbers(n)).Draw(t, "names") // a link goes up in these
		var links []layoutLink
		for range rapid.IntRange(0, 3*n).Draw(t, "links") {
			a, b := rapid.IntRange(0, n-1).Draw(t, "a"), rapid.IntRange(0, n-1).Draw(t, "b")
			if a != b {
				links = append(links, layoutLink{names[min(a, b)], names[max(a, b)], rapid.Bool().Draw(t, "optional")})
			}
		}
		l := layOut(sizes, links)
		checkLayout(t, sizes, links, l)
		if !reflect.DeepEqual(l, layOut(sizes, links)) {
			t.Fatal("the same graph gives two pictures")
		}
	})
}

func numbers(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

func TestLayoutAvoidsNeedlessCrossings(t *testing.T) {
	sizes := make([]layoutSize, 4)
	for i := range sizes {
		sizes[i] = layoutSize{50, 20}
	}
	l := layOut(sizes, []layoutLink{{from: 0, to: 3}, {from: 1, to: 2}})
	if (l.boxes[0].y < l.boxes[1].y) != (l.boxes[3].y < l.boxes[2].y) {
		t.Errorf("they cross: %+v", l.boxes)
	}
}

// TestLayoutWithoutBendsIsComplete has many long links.
func TestLayoutWithoutBendsIsComplete(t *testing.T) {
	const n = 300
	sizes := make([]layoutSize, n)
	var links []layoutLink
	for i := range sizes {
		sizes[i] = layoutSize{50, 20}
		if i > 0 {
			links = append(links, layoutLink{from: i - 1, to: i})
		}
		if i < n-1 {
			links = append(links, layoutLink{from: i, to: n - 1})
		}
	}
	l := layOut(sizes, links)
	checkLayout(t, sizes, links, l)
	if len(l.segments) > 2*n {
		t.Errorf("%d segments for %d links", len(l.segments), len(links))
	}
}

// workflow reads one of the graphs in testdata/dags as a pipeline, with the durations of
// its tasks.
func workflow(t *testing.T, name string) (*pipeline.Pipeline, map[string]time.Duration) {
	t.Helper()
	src, err := os.ReadFile(filepath.Join("testdata", "dags", name))
	if err != nil {
		t.Fatal(err)
	}
	var graph struct {
		Name  string
		Tasks [][4]json.RawMessage
	}
	if err := json.Unmarshal(src, &graph); err != nil {
		t.Fatal(err)
	}
	names, took := make([]string, len(graph.Tasks)), map[string]time.Duration{}
	file := strings.Builder{}
	fmt.Fprintf(&file, "name: %q\nmodules:\n", graph.Name)
	for i, task := range graph.Tasks {
		id, seconds := "", 0.0
		if json.Unmarshal(task[0], &id) != nil || json.Unmarshal(task[1], &seconds) != nil {
			t.Fatalf("task %d cannot be read", i)
		}
		id = regexp.MustCompile(`[^A-Za-z0-9_-]`).ReplaceAllString(id, "_")
		names[i] = "m" + id[max(0, len(id)-60):]
		took[names[i]] = time.Duration(seconds * float64(time.Second))
	}
	for i, task := range graph.Tasks {
		var needs []int
		if err := json.Unmarshal(task[2], &needs); err != nil {
			t.Fatal(err)
		}
		var words []string
		for _, j := range needs {
			words = append(words, names[j])
		}
		fmt.Fprintf(&file, "  %s: {run: x, needs: [%s]}\n", names[i], strings.Join(words, ", "))
	}
	return bindText(t, file.String()), took
}

func bindText(t testing.TB, text string) *pipeline.Pipeline {
	t.Helper()
	f, err := pipeline.Parse("x.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p, err := f.Bind(nil, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestWorkflowsGivePicturesWithTheirCriticalPath draws real graphs whose critical path is
// known.
func TestWorkflowsGivePicturesWithTheirCriticalPath(t *testing.T) {
	for name, c := range map[string]struct {
		critical   float64
		most       int // boxes
		wide, tall int
	}{
		"rnaseq-001.json":             {critical: 759.5, most: 80, wide: 6000, tall: 3000},
		"soykb-30fastq-10ch-001.json": {critical: 7321.7, most: 30, wide: 3500, tall: 500},
	} {
		t.Run(name, func(t *testing.T) {
			p, took := workflow(t, name)
			pic := newPicture(newDrawing(p), nil, took)
			if d := pic.total - c.critical; d < -0.1 || d > 0.1 {
				t.Errorf("critical path of %.1f s, and it is %.1f s", pic.total, c.critical)
			}
			b := pic.inBoxes()
			if len(b.boxes) > c.most {
				t.Errorf("%d boxes", len(b.boxes))
			}
			sizes := make([]layoutSize, len(b.boxes))
			for n := range b.boxes {
				sizes[n] = (&picture{modules: pic.modules}).say(&b.boxes[n]).size
			}
			l := layOut(sizes, b.links)
			checkLayout(t, sizes, b.links, l)
			if l.width > c.wide || l.height > c.tall {
				t.Errorf("the picture is %d × %d", l.width, l.height)
			}
		})
	}
}

// TestLargeGraphHasFewBoxes also checks that the picture is drawn fast.
func TestLargeGraphHasFewBoxes(t *testing.T) {
	wide := strings.Builder{}
	wide.WriteString("name: wide\nmodules:\n")
	letters := func(i int) string { return string([]byte{'a' + byte(i/676%26), 'a' + byte(i/26%26), 'a' + byte(i%26)}) }
	for i := range 1200 { // no two have the same needs, nor names that differ in a number only
		needs := ""
		if i >= 40 {
			needs = fmt.Sprintf("%s, %s", letters(i-40), letters(i-39+i%7))
		}
		fmt.Fprintf(&wide, "  %s: {run: x, needs: [%s]}\n", letters(i), needs)
	}
	began := time.Now()
	pic := newPicture(newDrawing(bindText(t, wide.String())), nil, nil)
	b := pic.inBoxes()
	if len(b.boxes) > wavesAbove || !strings.Contains(b.note, "wave") {
		t.Errorf("%d boxes: %q", len(b.boxes), b.note)
	}
	var page strings.Builder
	if err := pic.html(&page); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
	for _, name := range []string{letters(0), letters(1199)} {
		if !strings.Contains(page.String(), "<td>"+name+"</td>") {
			t.Errorf("module %s is not in the table", name)
		}
	}
}

func TestPictureEscapesNames(t *testing.T) {
	evil := `</title><script>alert("1")</script>&'` + "\x01"
	p := bindText(t, "name: x\nmodules: {a: {run: x}, b: {run: x, needs: [a]}}\n")
	p.Name, p.Modules[0].Name = evil, evil
	p.Modules[1].Needs[0].Module = evil
	pic := newPicture(newDrawing(p), &report.Report{Status: report.RunFailed, Error: evil, Modules: []report.Module{
		{Name: evil, Status: "failed", Error: evil, Started: &time.Time{}, Duration: 2, Attempts: []report.Attempt{{Worker: evil}}},
	}}, nil)
	var page strings.Builder
	if err := pic.html(&page); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(page.String(), "<script") || strings.Contains(page.String(), "\x01") {
		t.Error(page.String())
	}
	if len(pic.links) != 1 || pic.modules[1].status != "not in the run" {
		t.Errorf("%+v", pic.modules)
	}
}

// TestFamilyInACycleIsDrawnAsMembers checks families whose boxes would close a cycle.
func TestFamilyInACycleIsDrawnAsMembers(t *testing.T) {
	p := &pipeline.Pipeline{Name: "x", Families: map[string][]int{"f": {0, 2}}, Modules: []*pipeline.Module{
		{Name: "f (n=1)", Family: "f"},
		{Name: "between", Needs: []pipeline.Need{{Module: "f (n=1)"}}},
		{Name: "f (n=2)", Family: "f", Needs: []pipeline.Need{{Module: "between"}}},
	}}
	if b := newPicture(newDrawing(p), nil, nil).inBoxes(); len(b.boxes) != 3 || !acyclic(3, b.links) {
		t.Errorf("%+v", b)
	}
}

func BenchmarkLayout(b *testing.B) {
	const layers, each = 10, 40
	sizes := make([]layoutSize, layers*each)
	var links []layoutLink
	for i := range sizes {
		sizes[i] = layoutSize{120, 40}
		for k := range 4 {
			if j := i + each + (i*7+k*13)%each; j < len(sizes) {
				links = append(links, layoutLink{from: i, to: j - i%each})
			}
		}
	}
	for b.Loop() {
		layOut(sizes, links)
	}
}
