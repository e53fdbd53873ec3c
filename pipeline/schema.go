package pipeline

import (
	"encoding/json"
	"fmt"
	"regexp"

	"github.com/google/jsonschema-go/jsonschema"
)

// Schema is the JSON Schema of the pipeline file, of the draft 2020-12, made
// of the same table that the decoder checks with. What it cannot say (names
// that must exist, cycles, expressions) Parse says.
func Schema() ([]byte, error) {
	s := fileShape.schema(false)
	s.Schema = "https://json-schema.org/draft/2020-12/schema"
	s.Title = "modpipe pipeline"
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("make the schema: %w", err)
	}
	return append(b, '\n'), nil
}

// schema returns a shape as JSON Schema. removable: null is allowed, and removes
// a value of defaults.
func (s *shape) schema(removable bool) *jsonschema.Schema {
	out := &jsonschema.Schema{Description: s.doc}
	switch s.form {
	case booleanForm:
		out.Type = "boolean"
	case conditionForm:
		out.Types = []string{"string", "boolean"}
	case integerForm:
		out.Type = "integer"
		least, most := float64(s.min), float64(s.max)
		out.Minimum, out.Maximum = &least, &most
	case textForm:
		s.textSchema(out)
	case listForm:
		s.listSchema(out)
	case mapForm:
		s.mapSchema(out, removable)
	case objectForm:
		s.objectSchema(out, removable)
	case unionForm:
		for _, alt := range s.choice {
			out.AnyOf = append(out.AnyOf, alt.schema(removable))
		}
	case anyForm:
	}
	return out
}

func (s *shape) textSchema(out *jsonschema.Schema) {
	out.Types = s.types()
	switch {
	case s.pattern == durationPattern:
		zero := any(0)
		out.Types = nil
		out.AnyOf = []*jsonschema.Schema{{Type: "string", Pattern: "(" + s.pattern + ")|" + expressionPattern}, {Const: &zero}}
	case len(s.enum) > 0 && s.reach >= graph:
		out.Types = nil
		words := &jsonschema.Schema{}
		for _, w := range s.enum {
			words.Enum = append(words.Enum, w)
		}
		out.AnyOf = []*jsonschema.Schema{words, {Type: "string", Pattern: expressionPattern}}
	case len(s.enum) > 0:
		out.Types = nil
		for _, w := range s.enum {
			out.Enum = append(out.Enum, w)
		}
	case s.pattern != "" && s.reach >= graph:
		out.Pattern = "(" + s.pattern + ")|" + expressionPattern
	case s.pattern != "":
		out.Pattern = s.pattern
	case s.reach <= script:
		out.Not = &jsonschema.Schema{Type: "string", Pattern: expressionPattern}
	}
}

// types are those of the values that a text may be written as.
func (s *shape) types() []string {
	types := []string{"string"}
	pattern := regexp.MustCompile(s.pattern)
	if pattern.MatchString("15") {
		types = append(types, "number")
	}
	if pattern.MatchString("true") {
		types = append(types, "boolean")
	}
	return types
}

const expressionPattern = `\$\{\{`

// listSchema: where a list is said, one element is a list of one.
func (s *shape) listSchema(out *jsonschema.Schema) {
	list := &jsonschema.Schema{Type: "array", Items: s.elem.schema(false)}
	if s.least > 0 {
		list.MinItems = &s.least
	}
	out.AnyOf = []*jsonschema.Schema{list, s.elem.schema(false)}
}

func (s *shape) mapSchema(out *jsonschema.Schema, removable bool) {
	out.Type = "object"
	names := s.keys.pattern
	if s.keys.reach >= graph {
		names = "(" + names + ")|" + expressionPattern
	}
	out.PropertyNames = &jsonschema.Schema{Pattern: names}
	elem := s.elem.schema(removable)
	if removable {
		elem = nullable(elem)
	}
	out.AdditionalProperties = elem
	if s.least > 0 {
		out.MinProperties = &s.least
	}
	s.properties(out, removable)
}

func (s *shape) objectSchema(out *jsonschema.Schema, removable bool) {
	out.Type = "object"
	out.AdditionalProperties = &jsonschema.Schema{Not: &jsonschema.Schema{}}
	if s.free {
		out.PatternProperties = map[string]*jsonschema.Schema{"^x-": {}}
	}
	s.properties(out, removable)
	if s == moduleShape {
		out.OneOf = []*jsonschema.Schema{{Required: []string{"run"}}, {Required: []string{"command"}}}
	}
}

func (s *shape) properties(out *jsonschema.Schema, removable bool) {
	for _, f := range s.fields {
		if f.state != supported {
			continue
		}
		if out.Properties == nil {
			out.Properties = map[string]*jsonschema.Schema{}
		}
		p := f.shape.schema(removable || f.inherits && s == moduleShape)
		if removable && !f.required || f.inherits && s == moduleShape {
			p = nullable(p)
		}
		out.Properties[f.key] = p
		out.PropertyOrder = append(out.PropertyOrder, f.key)
		if f.required {
			out.Required = append(out.Required, f.key)
		}
	}
}

func nullable(s *jsonschema.Schema) *jsonschema.Schema {
	return &jsonschema.Schema{Description: s.Description, AnyOf: []*jsonschema.Schema{s, {Type: "null"}}}
}
