package pipeline

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
)

const referenceFile = "../docs/file-format.md"

// TestReference holds docs/file-format.md to the schema; -update writes it.
func TestReference(t *testing.T) {
	got := fileReference(fileShape.schema(false))
	if *update {
		if err := os.WriteFile(referenceFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what the schema says: go test ./pipeline -run Reference -update", referenceFile)
	}
}

func fileReference(s *jsonschema.Schema) string {
	var b strings.Builder
	b.WriteString("# The pipeline file\n\nMade from the JSON Schema that `orchestrator schema` prints. What the words mean is in [concepts](concepts.md);\n" +
		"`orchestrator validate FILE` says what is wrong with a file.\n\n## Top level\n\n")
	keys(&b, s, "")
	b.WriteString("\n## A module\n\nBelow `modules`, by its name.\n\n")
	module := s.Properties["modules"]
	for _, m := range module.PatternProperties {
		keys(&b, m, "")
	}
	if module.AdditionalProperties != nil && len(module.PatternProperties) == 0 {
		keys(&b, module.AdditionalProperties, "")
	}
	b.WriteString(expressionsPage())
	return b.String()
}

// keys writes a table of an object's keys, and the keys of objects in them.
func keys(b *strings.Builder, s *jsonschema.Schema, prefix string) {
	b.WriteString("| key | value | |\n|---|---|---|\n")
	rows(b, s, prefix)
}

func rows(b *strings.Builder, s *jsonschema.Schema, prefix string) {
	names := make([]string, 0, len(s.Properties))
	for name := range s.Properties {
		names = append(names, name)
	}
	slices.SortFunc(names, func(x, y string) int {
		return cmp.Or(-cmp.Compare(requiredFirst(s, x), requiredFirst(s, y)), strings.Compare(x, y))
	})
	for _, name := range names {
		p := s.Properties[name]
		doc := p.Description
		if slices.Contains(s.Required, name) {
			doc = "required; " + doc
		}
		fmt.Fprintf(b, "| `%s%s` | %s | %s |\n", prefix, name, cell(kindOf(p)), cell(doc))
		if object := objectIn(p); object != nil && name != "modules" && name != "defaults" {
			rows(b, object, prefix+name+".")
		}
	}
}

func requiredFirst(s *jsonschema.Schema, name string) int {
	if slices.Contains(s.Required, name) {
		return 1
	}
	return 0
}

func objectIn(s *jsonschema.Schema) *jsonschema.Schema {
	if len(s.Properties) > 0 {
		return s
	}
	for _, alt := range s.AnyOf {
		if o := objectIn(alt); o != nil {
			return o
		}
	}
	if s.Items != nil {
		return objectIn(s.Items)
	}
	if s.AdditionalProperties != nil {
		if o := objectIn(s.AdditionalProperties); o != nil {
			return o
		}
	}
	for _, p := range s.PatternProperties {
		if o := objectIn(p); o != nil {
			return o
		}
	}
	return nil
}

// kindOf names the kind of value that is allowed, in a word or two.
func kindOf(s *jsonschema.Schema) string {
	switch {
	case strings.Contains(s.Description, "90s"):
		return "duration"
	case len(s.Enum) > 0:
		words := make([]string, 0, len(s.Enum))
		for _, e := range s.Enum {
			words = append(words, fmt.Sprintf("`%v`", e))
		}
		return strings.Join(words, ", ")
	case len(s.AnyOf) > 0:
		return anyOf(s.AnyOf)
	case s.Type == "object":
		return "map"
	case s.Type == "array" && s.Items != nil:
		return "list of " + kindOf(s.Items)
	case s.Type != "":
		return typeWord(s.Type)
	}
	var words []string
	for _, t := range s.Types {
		if t != "null" && !slices.Contains(words, typeWord(t)) {
			words = append(words, typeWord(t))
		}
	}
	if slices.Contains(words, "text") { // scalars are taken as they are written
		return "text"
	}
	return strings.Join(words, " or ")
}

// anyOf leaves out null, and says a list of one word as the list.
func anyOf(alternatives []*jsonschema.Schema) string {
	var words []string
	list := ""
	for _, alt := range alternatives {
		w := kindOf(alt)
		if alt.Type == "null" || w == "" || slices.Contains(words, w) {
			continue
		}
		if item, ok := strings.CutPrefix(w, "list of "); ok {
			list = item
		}
		words = append(words, w)
	}
	words = slices.DeleteFunc(words, func(w string) bool { return list != "" && strings.Contains(list, w) })
	return strings.Join(words, " or ")
}

func typeWord(t string) string {
	switch t {
	case "string", "number":
		return "text"
	case "null":
		return ""
	}
	return t
}

func cell(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(strings.TrimSpace(text), "|", "\\|"), "\n", " ")
}

const expressionsText = `
## Needs

´´´yaml
needs:
  - build                                    # a module, or all members of a family
  - {module: lint, optional: true}           # runs also when lint was skipped or is not in the run
  - {module: test, same: [os]}               # of a family: the members whose os is that of this member
´´´

* ´optional´ waits for the module like any need, and a failure of it counts. Only a skip does not. Reading its outputs then
  needs a default: ´${{ needs.lint.outputs.report ?? '' }}´.
* ´same´ belongs in a member of a family. It names axes that both families have. Without it, every member needs all members.

## Files

Modules hand files to each other as artifacts:

´´´yaml
modules:
  build:
    run: make
    artifacts:
      produce: {bin: "bin/**", docs: ["docs/**", "!docs/*.tmp"]}     # name: globs
  test:
    needs: [build]
    matrix: {shard: [a, b]}
    run: ./test.sh "$MODPIPE_MATRIX_SHARD"
    artifacts:
      consume: [bin]
      produce:
        - {name: "coverage-${{ matrix.shard }}", path: "cover/**"}
        - {name: log, path: "*.log", optional: true, when: failure}
  report:
    needs: [test]
    run: ./report.sh cover
    artifacts:
      consume: [{name: coverage-*, to: cover, merge: true}]
´´´

* Globs are relative to the workspace, also in a module with ´dir´. ´**´ stands for any directories, and ´!´ excludes. ´docs/´ means all that is
  in docs. Paths have ´/´ between directories on every system, and never leave the workspace.
* A name is made of letters, digits, ´_´, ´-´ and ´.´; ´*´ and ´?´ in ´consume´ make a pattern.
* An artifact is consumed from a direct need. If several needs produce the name, ´from´ says which one counts.
* An artifact that was not left fails the module that consumes it. It may be missing if it is ´optional´ or ´when: failure´, if
  the need is optional, or if the consumer is always-run: then nothing is restored.
* Files return to the paths that they had, or below ´to´. Those of a family's members are in one directory for each member, and
  those of a pattern in one for each name, unless ´merge´ is true.
* ´{from-run: latest, pipeline: release, label: {branch: main}, name: manifest}´ takes an artifact of the last successful run
  of a pipeline that has these labels. ´pipeline´ is this one unless given.

A module is cached when its ´cache´ has ´inputs´, which may be ´[]´. It then requires an os and an arch, or its result is the
same everywhere:

´´´yaml
defaults: {cache: {portable: true}}
modules:
  generate: {run: ./generate.sh, cache: {inputs: ["schema/**"]}, artifacts: {produce: {gen: gen/}}}
´´´

A directory of ´cache-dirs´ is kept between attempts, at ´path´ below the workspace, or elsewhere with its path in the variable
´env´:

´´´yaml
cache-dirs:
  gomod: {env: GOMODCACHE, key: "go-${{ hashFiles('go.sum') }}", restore: [go-]}
´´´

## Variables of the worker

´pass-env´ takes variables from the worker's own environment, where ´worker --pass-env´ allows them. A variable that the worker does
not allow, or does not have, is absent. With ´required´ only workers that allow it run the module, and the module fails where
it has no value:

´´´yaml
modules:
  publish: {run: ./publish.sh, pass-env: [LANG, "AWS_*", {name: REGISTRY, required: true}]}
´´´

## Secrets

A module finds secrets in its environment. [Secrets](secrets.md) says where they come from:

´´´yaml
modules:
  publish:
    matrix: {stage: [dev, prod]}
    run: ./publish.sh
    secrets:
      - NPM_TOKEN                                              # the secret NPM_TOKEN, in the variable of this name
      - {CERT: {name: signing-cert, file: true}}               # CERT holds the path of a file with the value
      - {DB: {name: "db-${{ matrix.stage }}", from: worker}}   # only workers that have it run the module
      - {PIN: {name: pin, allow-short: true}}                  # fewer than 8 characters; it is not masked
´´´

* A file never contains the value of a secret, and expressions do not read it.
* A secret takes the place of a variable of the pipeline's ´env´, of ´--env´ and of ´pass-env´ with the same name. Beside a variable of the
  module's own ´env´ it is a fault.
* ´name´ may use ´params´ and ´matrix´, except axes that are known only when other modules have ended.

## Expressions

´${{ … }}´ in strings, or bare in ´if´. ´params´ and ´matrix´ may be used in every string but names and ´run´;
´needs´ in ´env´, ´command´, ´stdin´, ´with´, ´if´, in the axes of a matrix, in names and paths of artifacts, and in the keys
of ´cache´ and ´cache-dirs´.

| expression | value |
|---|---|
| ´needs.X.status´ | how a direct need ended; of a family, as one need would decide |
| ´needs.X.outputs.K´ | what it has set; ´?? 'x'´ gives a default |
| ´needs.X.result´ | what a Go function returned |
| ´needs.X.reason´ | why |
| ´needs.X.members´ | of a family: a list of matrix, status, outputs |
| ´params.P´, ´matrix.A´ | a parameter, an axis |
| ´contains´, ´startsWith´, ´endsWith´, ´join´, ´fromJSON´, ´toJSON´ | as in GitHub Actions, but for case |
| ´success()´, ´failure()´, ´cancelled()´ | of the direct needs |
| ´hashFiles('go.sum', '**/*.lock')´ | a digest of the files of the workspace that the globs match; in the keys of ´cache´ and ´cache-dirs´ only |

Everything is checked before the run, against what exists. In ´run´ expressions are refused: put them into ´env´.

### Operators

| example | gives | |
|---|---|---|
| ´'prod' == 'Prod'´ | ´false´ | texts are compared as they are written, with case |
| ´lower('Prod') == 'prod'´ | ´true´ | |
| ´1 < 2 && !(2 >= 3)´ | ´true´ | ´&&´, ´\|\|´ and ´!´ take conditions only |
| ´1 > 2 \|\| 'a' != 'b'´ | ´true´ | |
| ´'dev' in ['dev', 'prod']´ | ´true´ | |
| ´!('x' in ['dev', 'prod'])´ | ´true´ | |
| ´'v1.2' matches '^v[0-9]'´ | ´true´ | a regular expression of Go |
| ´contains('a-b', '-')´ | ´true´ | |
| ´1 < 2 ? 'yes' : 'no'´ | ´yes´ | a choice |
| ´fromJSON('{"a": 1}').b ?? 'none'´ | ´none´ | a default for what is missing |
| ´fromJSON('[4, 5]')[0]´ | ´4´ | an element, from 0; ´[-1]´ is the last |
| ´len(fromJSON('[4, 5]'))´ | ´2´ | |
| ´'a' + 'b'´ | ´ab´ | |
| ´join(map([1, 2], # * 10), ',')´ | ´10,20´ | ´#´ is the element; also ´filter´, ´any´, ´all´, ´count´ |
| ´7 % 4 + 2 ** 3´ | ´11´ | |

### Numbers

Numbers are exact. A whole number keeps all its digits, a decimal stays as it was written, and none is shown with an exponent
that was not written with one. Numbers in parameters, in ´fromJSON´ and in the results of Go functions are the same.

| example | gives | |
|---|---|---|
| ´9007199254740993 + 1´ | ´9007199254740994´ | |
| ´1.10´ | ´1.10´ | |
| ´1.10 == 1.1´ | ´true´ | |
| ´0.1 + 0.2 == 0.3´ | ´true´ | |
| ´fromJSON('{"id": 12345678901234567890}').id´ | ´12345678901234567890´ | |
| ´1 / 4´ | ´0.25´ | |
| ´1 / 3´ | ´0.3333333333333333´ | digits that never end are rounded |
| ´'10' == '10.0'´ | ´false´ | texts are no numbers |
`

// expressionsPage is the text, in which an acute accent represents a backtick.
func expressionsPage() string { return strings.ReplaceAll(expressionsText, "´", "`") }

// TestExamplesInReference holds the examples of expressions to what they give.
func TestExamplesInReference(t *testing.T) {
	rows := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| `([^`]+)` \\|").FindAllStringSubmatch(expressionsPage(), -1)
	if len(rows) < 20 {
		t.Fatalf("%d examples", len(rows))
	}
	for _, row := range rows {
		expression := strings.ReplaceAll(row[1], `\|`, "|")
		quoted := strings.ReplaceAll("${{ "+expression+" }}", "'", "''")
		_, m := bindOne(t, "command: [echo, '"+quoted+"']")
		if got, ok := m.Command.Args[1].plain(); !ok || got != row[2] {
			t.Errorf("%s gives %q, %v; the page says %q", expression, got, ok, row[2])
		}
	}
}
