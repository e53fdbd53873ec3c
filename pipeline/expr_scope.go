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

// exprScope is what the expressions of one place may name.
type exprScope struct {
	module    string            // whose expressions; empty: the pipeline's
	place     string            // the key, for messages
	reach     reach             // whether needs may be read
	lenient   bool              // names were checked before: only find out what is read
	condition bool              // success(), failure() and cancelled() mean something
	always    bool              // of an always-run module
	params    map[string]string // name → type
	whole     bool              // numbers among them are whole
	axes      []string          // of the matrix; nil: none
	certain   []string          // those of axes that every member has
	noMatrix  string            // why the matrix may not be read here; empty: it may
	needs     map[string]needKind
	externals *Externals
	suggests  func() bool // whether corrections are looked for; nil: they are
	modules   []string    // all names, to tell what is unknown from what is no direct need
}

// needKind is what is known of a direct need before it ran.
type needKind struct {
	missing  bool // it does not exist, which is reported elsewhere
	family   bool
	result   bool     // a Go function: it has a result, and no outputs
	declared bool     // outputs are what it may set
	outputs  []string // without declared: unknown
}

func (s *exprScope) hasNumbers() bool {
	for _, typ := range s.params {
		if typ == "number" {
			return true
		}
	}
	return false
}

func (s *exprScope) needNames() []string { return sortedKeys(s.needs) }

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

// types gives expr-lang what it checks against.
func (s *exprScope) types() types.Map {
	params, needs := types.Map{}, types.Map{}
	for name, typ := range s.params {
		switch typ {
		case "number":
			params[name] = types.Float64
			if s.whole {
				params[name] = types.Int
			}
		case "boolean":
			params[name] = types.Bool
		default:
			params[name] = types.String
		}
	}
	for name, n := range s.needs {
		switch {
		case n.missing:
			needs[name] = types.Any
		case n.family:
			needs[name] = familyType
		default:
			needs[name] = needType
		}
	}
	matrix := types.Map{types.Extra: types.Any}
	for _, axis := range s.certain {
		matrix[axis] = types.String
	}
	return types.Map{"params": params, "matrix": matrix, "needs": needs, hidden: types.Any}
}
