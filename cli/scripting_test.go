package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/modpipe/modpipe/report"
)

// TestScriptingPage: docs/scripting.md names all that scripts may read, and
// its documents have the fields that there are.
func TestScriptingPage(t *testing.T) {
	page := readText(t, "../docs/scripting.md")
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(page, -1)
	if len(blocks) != 2 {
		t.Fatalf("%d blocks of JSON, want the report and an event", len(blocks))
	}
	for i, into := range []any{new(report.Report), new(report.Event)} {
		d := json.NewDecoder(strings.NewReader(blocks[i][1]))
		d.DisallowUnknownFields()
		if err := d.Decode(into); err != nil {
			t.Errorf("%T: %v", into, err)
		}
	}
	for _, tag := range jsonNames(reflect.TypeFor[report.Report]()) {
		if !strings.Contains(blocks[0][1], `"`+tag+`":`) {
			t.Errorf("the report has no %s", tag)
		}
	}
	words := jsonNames(reflect.TypeFor[report.Event]())
	words = append(words, matches(t, "../report/event.go", `EventKind = "([a-z.]+)"`)...)
	words = append(words, matches(t, "../internal/progress/json.go", `EventKind = "([a-z.]+)"`)...)
	words = append(words, matches(t, "../internal/exec/process/environment.go", `"((?:MODPIPE|TRACE)[A-Z_]*[A-Z])_?=?"`)...)
	if len(words) < 45 {
		t.Errorf("only %q", words)
	}
	for _, w := range words {
		if !regexp.MustCompile("`" + w + "(`|_<)").MatchString(page) {
			t.Errorf("the page does not tell of %s", w)
		}
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")))
}

// matches are the first groups of pattern in a source.
func matches(t *testing.T, path, pattern string) (found []string) {
	t.Helper()
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(readText(t, path), -1) {
		found = append(found, m[1])
	}
	return found
}

// jsonNames are the names of the fields of a document, and of those within.
func jsonNames(t reflect.Type) (names []string) {
	switch t.Kind() {
	case reflect.Slice, reflect.Pointer:
		return jsonNames(t.Elem())
	case reflect.Struct:
	default:
		return nil
	}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			names = append(append(names, name), jsonNames(f.Type)...)
		}
	}
	return names
}
