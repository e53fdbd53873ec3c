package pipeline

import (
	"fmt"
	"slices"
	"strings"
)

// expand makes the combinations of a matrix as GitHub Actions does: the
// product of the axes in the order written, the last one fastest; without
// what matches an exclude; then every include either extends the combinations
// of the product that it does not contradict, or is one more combination.
func expand(axes []axisValues, include, exclude [][]Pair) ([][]Pair, error) {
	product, err := multiply(axes)
	if err != nil {
		return nil, err
	}
	out := slices.DeleteFunc(product, func(c []Pair) bool {
		return slices.ContainsFunc(exclude, func(x []Pair) bool { return matches(c, x) })
	})
	isAxis := func(name string) bool {
		return slices.ContainsFunc(axes, func(a axisValues) bool { return a.name == name })
	}
	original := len(out)
	for _, entry := range include {
		mine := slices.DeleteFunc(slices.Clone(entry), func(p Pair) bool { return !isAxis(p.Axis) })
		extended := false
		for i := range original {
			if matches(out[i], mine) {
				out[i] = extend(out[i], entry)
				extended = true
			}
		}
		if !extended {
			out = append(out, entry)
		}
	}
	if len(out) > maxMembers {
		return nil, fmt.Errorf("more than %d combinations", maxMembers)
	}
	return out, nil
}

func multiply(axes []axisValues) ([][]Pair, error) {
	if len(axes) == 0 {
		return nil, nil
	}
	out := [][]Pair{nil}
	for _, axis := range axes {
		if len(out)*len(axis.values) > maxMembers {
			return nil, fmt.Errorf("more than %d combinations", maxMembers)
		}
		next := make([][]Pair, 0, len(out)*len(axis.values))
		for _, c := range out {
			for _, v := range axis.values {
				next = append(next, append(slices.Clone(c), Pair{axis.name, v}))
			}
		}
		out = next
	}
	return out, nil
}

// matches says whether a combination has all these values.
func matches(c, values []Pair) bool {
	return !slices.ContainsFunc(values, func(p Pair) bool { return !slices.Contains(c, p) })
}

// extend adds the values of an include; those of an earlier include give way.
func extend(c, entry []Pair) []Pair {
	for _, p := range entry {
		i := slices.IndexFunc(c, func(have Pair) bool { return have.Axis == p.Axis })
		if i < 0 {
			c = append(c, p)
		} else {
			c[i] = p
		}
	}
	return c
}

// memberName is a member's name: test (os=linux, shard=a).
func memberName(family string, pairs []Pair) string {
	words := make([]string, len(pairs))
	for i, p := range pairs {
		words[i] = p.Axis + "=" + p.Value
	}
	return family + " (" + strings.Join(words, ", ") + ")"
}

// tokenPrefixes gives each family the shortest prefix of its members' tokens
// with which none of them can be the name of a module or a token of another family.
func tokenPrefixes(modules []*declaration) map[string]string {
	taken := map[string]bool{}
	prefixes := map[string]string{}
	for _, d := range modules {
		if !d.family() {
			continue
		}
		prefix := d.name + "-"
		for taken[strings.ToLower(prefix)] || slices.ContainsFunc(modules, func(m *declaration) bool {
			return len(m.name) > len(prefix) && strings.EqualFold(m.name[:len(prefix)], prefix) && isDigits(m.name[len(prefix):])
		}) {
			prefix += "-"
		}
		taken[strings.ToLower(prefix)] = true
		prefixes[d.name] = prefix
	}
	return prefixes
}
