package pipeline

import (
	"slices"

	"github.com/expr-lang/expr/types"
)

// Statuses are the words with which an expression may compare a status.
func Statuses() []string {
	return []string{"succeeded", "cached", "skipped", "failed", "timed_out", "ignored_failure", "dependency_failed", "cancelled"}
}

// foreignStatuses are words of others for ours.
var foreignStatuses = map[string]string{
	"success": "succeeded", "failure": "failed", "canceled": "cancelled", "timeout": "timed_out", "timedout": "timed_out", "skip": "skipped",
}

// vocabulary is what the expressions of one field may name.
type vocabulary struct {
	pipeline  string              // its name
	module    string              // whose expressions; empty: the pipeline's
	field     string              // the key, for messages
	reach     reach               // whether needs may be read
	lenient   bool                // names were checked before: only find out what is read
	condition bool                // success(), failure() and cancelled() mean something
	hashes    bool                // hashFiles() may be called
	always    bool                // of an always-run module
	params    map[string]string   // name → type
	choices   map[string][]string // name of a parameter → its options
	axes      axes                // of the matrix
	noMatrix  string              // why the matrix may not be read here; empty: it may
	needs     map[string]needKind
	externals *Externals
	suggests  func() bool             // whether corrections are looked for; nil: they are
	modules   map[string]*declaration // all, to tell what is unknown from what is no direct need
}

// needKind is what is known of a direct need before it ran.
type needKind struct {
	missing  bool // it does not exist, which is reported elsewhere
	family   bool
	result   bool    // a Go function: it has a result, and no outputs
	declared bool    // outputs are what it may set
	outputs  wordSet // without declared: unknown
}

// hasNumbers reports whether a parameter among words is a number.
func (s *vocabulary) hasNumbers(words properties) bool {
	for word := range words {
		if s.params[word] == "number" {
			return true
		}
	}
	return false
}

func (s *vocabulary) needNames() []string { return sortedKeys(s.needs) }

func sortedKeys[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Views of needs, as expressions and toJSON see them: mappings, because
// expr-lang checks mappings with known keys, and structs only at the top.

func needValue(v NeedView) map[string]any {
	return map[string]any{"status": v.Status, "reason": v.Reason, "outputs": notNil(v.Outputs), "result": exactNumbers(v.Result)}
}

func familyValue(v NeedView) map[string]any {
	members := make([]any, len(v.Members))
	for i, m := range v.Members {
		members[i] = map[string]any{"matrix": axisMap(pairMap(m.Matrix)), "status": m.Status, "outputs": notNil(m.Outputs)}
	}
	return map[string]any{"status": v.Status, "reason": v.Reason, "members": members}
}

func notNil(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

var (
	texts      = types.TypeOf(map[string]string{})
	anyMap     = types.TypeOf(map[string]any{})
	needType   = types.Map{"status": types.String, "reason": types.String, "outputs": texts, "result": types.Any}
	memberType = types.Map{"matrix": anyMap, "status": types.String, "outputs": texts}
	familyType = types.Map{"status": types.String, "reason": types.String, "members": types.Array(memberType)}
)

// hidden names the value by which our functions see the needs.
const hidden = "\x00scope"

// types gives expr-lang what it checks against, as far as it is among words.
func (s *vocabulary) types(words properties, whole bool) types.Map {
	params, needs, matrix := types.Map{}, types.Map{}, types.Map{types.Extra: types.Any}
	for word := range words {
		if typ, ok := s.params[word]; ok {
			params[word] = paramType(typ, whole)
		}
		if n, ok := s.needs[word]; ok {
			needs[word] = n.typ()
		}
		if s.axes.certain[word] {
			matrix[word] = types.String
		}
	}
	return types.Map{"params": params, "matrix": matrix, "needs": needs, hidden: types.Any}
}

func paramType(typ string, whole bool) types.Type {
	switch {
	case typ == "number" && whole:
		return types.Int
	case typ == "number":
		return types.Float64
	case typ == "boolean":
		return types.Bool
	}
	return types.String
}

func (n needKind) typ() types.Type {
	switch {
	case n.missing:
		return types.Any
	case n.family:
		return familyType
	}
	return needType
}
