package pipeline

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Param describes a parameter.
type Param struct {
	Name, Type, Description, FromEnv string // Type: string, number, boolean, choice
	Options                          []string
	Default                          any // string, bool; of a number int, or json.Number as it was written; nil: none
	Required                         bool
}

func (c *collector) decodeParams(f *File) {
	params := f.root.get("params")
	if params == nil || params.Kind != mapNode {
		return
	}
	for i, k := range params.Keys {
		n := params.Items[i]
		p := Param{
			Name: k.Value, Type: c.literal(n.get("type")), Description: c.literal(n.get("description")),
			FromEnv: c.literal(n.get("from-env")), Required: c.flag(n.get("required"), false),
		}
		if p.Type == "" {
			p.Type = "string"
		}
		options := wordSet{}
		for _, o := range n.get("options").elements() {
			if !options.add(o.Value) {
				c.fault(o, "", "option %q is repeated", o.Value)
			}
			p.Options = append(p.Options, o.Value)
		}
		c.checkParam(k, n, &p)
		f.types[p.Name] = p.Type
		if p.Type == "choice" {
			f.choices[p.Name] = p.Options
		}
		f.params, f.paramAt = append(f.params, p), append(f.paramAt, k)
	}
}

// literal is the text of a scalar; empty when it is missing or faulty.
func (c *collector) literal(n *node) string {
	if !c.ok(n) {
		return ""
	}
	return n.Value
}

func (c *collector) checkParam(k, n *node, p *Param) {
	switch {
	case p.Type == "choice" && len(p.Options) == 0:
		c.fault(k, "add options: [a, b]", "parameter %s is a choice without options", p.Name)
		return
	case p.Type != "choice" && n.get("options") != nil:
		c.fault(n.get("options"), "write type: choice", "options are of a choice, but parameter %s is a %s", p.Name, p.Type)
	}
	def := n.get("default")
	if !c.ok(def) || def.Kind == listNode || def.Kind == mapNode {
		return
	}
	if p.Required {
		c.fault(def, "", "parameter %s is required and has a default", p.Name)
		return
	}
	typed := def.Type == "int" || def.Type == "float"
	if p.Type == "number" && !typed || p.Type == "boolean" && def.Type != "bool" {
		c.fault(def, "", "default of parameter %s is not a %s: %q", p.Name, p.Type, def.Value)
		return
	}
	v, err := p.value(strings.TrimSpace(def.Value), def.Value)
	if err != nil {
		c.fault(def, "", "default of parameter %s: %v", p.Name, err)
		return
	}
	p.Default = v
}

// value reads a parameter's value; raw is it with the spaces around it.
func (p *Param) value(s, raw string) (any, error) {
	switch p.Type {
	case "number":
		v, ok := parseNumber(s)
		if !ok || math.IsInf(asFloat(v), 0) {
			return nil, fmt.Errorf("%q is not a number", raw)
		}
		return v, nil
	case "boolean":
		if !strings.EqualFold(s, "true") && !strings.EqualFold(s, "false") {
			return nil, fmt.Errorf("%q is neither true nor false", raw)
		}
		return strings.EqualFold(s, "true"), nil
	case "choice":
		if !slices.Contains(p.Options, raw) {
			return nil, fmt.Errorf("%q is not one of %s", raw, strings.Join(p.Options, ", "))
		}
	}
	return raw, nil
}

// zero is the value when there is neither a value nor a default: GitHub's.
func (p *Param) zero() any {
	switch p.Type {
	case "number":
		return 0
	case "boolean":
		return false
	case "choice":
		return p.Options[0]
	}
	return ""
}

// bindParams gives every parameter its value.
func (c *collector) bindParams(f *File, given map[string]string, lookupEnv func(string) (string, bool)) map[string]any {
	known := make([]string, len(f.params))
	bound := make(map[string]any, len(f.params))
	for i := range f.params {
		p := &f.params[i]
		known[i] = p.Name
		text, from, ok := given[p.Name], "--param", false
		if _, ok = given[p.Name]; !ok && p.FromEnv != "" && lookupEnv != nil {
			text, ok = lookupEnv(p.FromEnv)
			from = "$" + p.FromEnv
		}
		switch {
		case ok:
			v, err := p.value(strings.TrimSpace(text), text)
			if err != nil {
				c.fault(f.paramAt[i], "", "parameter %s (from %s): %v", p.Name, from, err)
			}
			bound[p.Name] = v
		case p.Required:
			c.fault(f.paramAt[i], fmt.Sprintf("--param %s=…", p.Name), "parameter %s is required and has no value", p.Name)
		case p.Default != nil:
			bound[p.Name] = p.Default
		default:
			bound[p.Name] = p.zero()
		}
	}
	for _, name := range sortedKeys(given) {
		if f.types[name] == "" && !c.full() {
			c.list = append(c.list, Fault{Text: fmt.Sprintf("--param: the pipeline has no parameter %q", name), Suggestion: c.knownOr(name, known, "it has")})
		}
	}
	return bound
}
