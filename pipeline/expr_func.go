package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm/runtime"
)

// runtimeScope is what our functions see of the needs.
type runtimeScope struct {
	needs    map[string]NeedView
	hash     func(globs []string) (string, error) // nil: there is no snapshot
	empty    bool                                 // an output that was not set is empty, with a warning: env of always-run modules
	warnings []string                             // of it
	steps    int                                  // that the expression has done
}

// missingOutputError is the error of an expression that reads an output that was not set.
type missingOutputError struct{ text string }

func (e *missingOutputError) Error() string { return e.text }

// functions are ours, registered with every expression.
var functions = []expr.Option{
	expr.Function("Contains", contains, new(func(string, any) bool), new(func([]any, any) bool), new(func(any, any) bool)),
	expr.Function("StartsWith", startsWith, new(func(any, any) bool)),
	expr.Function("EndsWith", endsWith, new(func(any, any) bool)),
	expr.Function("join", join, new(func(any) string), new(func(any, string) string)),
	expr.Function("fromJSON", fromJSON, new(func(string) any)),
	expr.Function("toJSON", toJSON, new(func(any) string)),
	expr.Function("replace", replace, new(func(string, string, string) string)),
	expr.Function(boundedCall, bounded, new(func(any, any) any)),
	expr.Function(outputOfNeed, func(p ...any) (any, error) { return output(false, p...) }, new(func(any, string, string) string)),
	expr.Function(outputOfNeed+"OrNil", func(p ...any) (any, error) { return output(true, p...) }, new(func(any, string, string) string)),
	expr.Function(outputOfMember, func(p ...any) (any, error) { return memberOutput(false, p...) }, new(func(any, string) string)),
	expr.Function(outputOfMember+"OrNil", func(p ...any) (any, error) { return memberOutput(true, p...) }, new(func(any, string) string)),
	expr.Function(hashOfFiles, hashFiles, new(func(any, ...string) string)),
	expr.Function(statusPrefix+"success", needStatus(func(s string) bool { return s == "cancelled" || isFailure(s) }, false), new(func(any) bool)),
	expr.Function(statusPrefix+"failure", needStatus(isFailure, true), new(func(any) bool)),
	expr.Function(statusPrefix+"cancelled", needStatus(func(s string) bool { return s == "cancelled" }, true), new(func(any) bool)),
}

// hashFiles is the digest of the snapshot's files that some glob matches.
func hashFiles(p ...any) (any, error) {
	scope, ok := p[0].(*runtimeScope)
	if !ok || scope.hash == nil {
		return nil, errors.New("hashFiles(): the run has no snapshot of the workspace")
	}
	var globs []string
	for _, a := range p[1:] {
		glob, err := textOf(a)
		if err != nil {
			return nil, err
		}
		clean, err := parseGlob(glob)
		if err != nil {
			return nil, fmt.Errorf("hashFiles(): %w", err)
		}
		globs = append(globs, clean)
	}
	return scope.hash(globs)
}

func isFailure(status string) bool {
	return status == "failed" || status == "timed_out" || status == "dependency_failed"
}

// needStatus makes a function that answers found when some need has a status.
func needStatus(has func(string) bool, found bool) func(...any) (any, error) {
	return func(p ...any) (any, error) {
		for _, n := range p[0].(*runtimeScope).needs {
			if has(n.Status) {
				return found, nil
			}
		}
		return !found, nil
	}
}

func output(orNil bool, p ...any) (any, error) {
	scope, need, key := p[0].(*runtimeScope), p[1].(string), p[2].(string)
	view := scope.needs[need]
	value, set := view.Outputs[key]
	switch {
	case set:
		return value, nil
	case orNil:
		return nil, nil
	}
	ended := ""
	if view.Status != "" && view.Status != "succeeded" {
		ended = " (it ended " + view.Status + ")"
	}
	err := &missingOutputError{fmt.Sprintf("%s did not set the output %q%s; %s", need, key, ended, wasSet(view.Outputs))}
	if scope.empty {
		scope.warnings = append(scope.warnings, err.text)
		return "", nil
	}
	return nil, err
}

func wasSet(outputs map[string]string) string {
	if len(outputs) == 0 {
		return "it set none"
	}
	return "it set " + strings.Join(sortedKeys(outputs), ", ")
}

func memberOutput(orNil bool, p ...any) (any, error) {
	m, ok := p[0].(map[string]any)
	outputs, there := m["outputs"].(map[string]string)
	if !ok || !there {
		if orNil {
			return nil, nil
		}
		return nil, &missingOutputError{"there is no such member of the family"}
	}
	key := p[1].(string)
	value, set := outputs[key]
	switch {
	case set:
		return value, nil
	case orNil:
		return nil, nil
	}
	return nil, &missingOutputError{fmt.Sprintf("a member (%s) did not set the output %q; %s", pairs(m["matrix"]), key, wasSet(outputs))}
}

// fieldOrNil is a field of a mapping or an element of a list; nil where it is missing.
func fieldOrNil(p ...any) (any, error) {
	if p[0] == nil {
		return nil, nil
	}
	if list, ok := asList(p[0]); ok {
		i := runtime.ToInt(p[1])
		if i < 0 {
			i += len(list)
		}
		if i < 0 || i >= len(list) {
			return nil, nil
		}
		return list[i], nil
	}
	if m, ok := p[0].(map[string]any); ok {
		key, _ := p[1].(string)
		return m[key], nil
	}
	return runtime.Fetch(p[0], p[1]), nil
}

func pairs(matrix any) string {
	m, _ := matrix.(map[string]any)
	var out []string
	for _, axis := range sortedKeys(m) {
		out = append(out, fmt.Sprint(axis, "=", m[axis]))
	}
	return strings.Join(out, ", ")
}

// contains is text in text, or a value in a list.
func contains(p ...any) (any, error) {
	if list, ok := asList(p[0]); ok {
		item, err := textOf(p[1])
		if err != nil {
			return nil, err
		}
		return slices.ContainsFunc(list, func(v any) bool {
			if equal(v, p[1]) {
				return true
			}
			s, err := textOf(v)
			return err == nil && s == item
		}), nil
	}
	return twoTexts(strings.Contains, p...)
}

func startsWith(p ...any) (any, error) { return twoTexts(strings.HasPrefix, p...) }
func endsWith(p ...any) (any, error)   { return twoTexts(strings.HasSuffix, p...) }

// twoTexts applies f to two values as text.
func twoTexts(f func(a, b string) bool, p ...any) (any, error) {
	a, err := textOf(p[0])
	if err != nil {
		return nil, err
	}
	b, err := textOf(p[1])
	return err == nil && f(a, b), err
}

func join(p ...any) (any, error) {
	glue := ","
	if len(p) == 2 {
		glue = p[1].(string)
	}
	list, ok := asList(p[0])
	if !ok {
		return textOf(p[0])
	}
	words := make([]string, len(list))
	for i, v := range list {
		s, err := textOf(v)
		if err != nil {
			return nil, err
		}
		words[i] = s
	}
	return strings.Join(words, glue), nil
}

func asList(v any) ([]any, bool) {
	switch list := v.(type) {
	case []any:
		return list, true
	case []string:
		out := make([]any, len(list))
		for i, s := range list {
			out[i] = s
		}
		return out, true
	}
	return nil, false
}

func fromJSON(p ...any) (any, error) {
	src, ok := p[0].(string)
	if !ok {
		return nil, errors.New("fromJSON takes text")
	}
	d := json.NewDecoder(strings.NewReader(src))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("fromJSON: %s is not JSON: %w", quoteShort(src), err)
	}
	if d.More() {
		return nil, fmt.Errorf("fromJSON: there is text after the value in %s", quoteShort(src))
	}
	return numbers(v), nil
}

// numbers turns JSON's into ours.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, ok := parseNumber(v.String()); ok {
			return n
		}
		return v.String()
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	}
	return v
}

func quoteShort(s string) string {
	const most = 60
	if len(s) > most {
		return strconv.Quote(s[:most]) + "…"
	}
	return strconv.Quote(s)
}

func toJSON(p ...any) (any, error) { return jsonText(p[0]) }

func jsonText(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(exactNumbers(v)); err != nil {
		return "", fmt.Errorf("toJSON: %w", err)
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// textOf turns a result into text: true, 3, JSON for lists and mappings, nothing for null.
func textOf(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case int, float64, decimal:
		return textOfNumber(v), nil
	}
	return jsonText(v)
}
