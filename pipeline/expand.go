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
func expand(axes []axisValues, include, exclude [][]Coordinate) ([][]Coordinate, error) {
	product, err := multiply(axes)
	if err != nil {
		return nil, err
	}
	t := newTable(axes, product)
	excluded := newBits(len(product))
	for _, entry := range exclude {
		excluded.or(t.matching(entry))
	}
	out := &extended{combinations: product[:0:0]}
	for i, c := range product {
		if !excluded.has(i) {
			out.combinations = append(out.combinations, c)
		}
	}
	t = newTable(axes, out.combinations)
	for _, entry := range include {
		if err := out.include(entry, t); err != nil {
			return nil, err
		}
	}
	return out.combinations, nil
}

// maxPairs bounds the values of all combinations of a matrix, and what its
// include writes into them.
const maxPairs = 1_000_000

var errPairs = fmt.Errorf("its combinations have more than %d values", maxPairs)

func multiply(axes []axisValues) ([][]Coordinate, error) {
	if len(axes) == 0 {
		return nil, nil
	}
	n := 1
	for _, axis := range axes {
		if n *= len(axis.values); n > maxMembers {
			return nil, fmt.Errorf("more than %d combinations", maxMembers)
		}
	}
	if n*len(axes) > maxPairs {
		return nil, errPairs
	}
	out := make([][]Coordinate, n)
	for i := range out {
		out[i] = make([]Coordinate, len(axes))
		for k, rest := len(axes)-1, i; k >= 0; k-- {
			values := axes[k].values
			out[i][k] = Coordinate{axes[k].name, values[rest%len(values)]}
			rest /= len(values)
		}
	}
	return out, nil
}

// table finds the combinations of a product that have given values.
type table struct {
	n    int
	axes map[string]bool
	have map[Coordinate]bits // which combinations have it
}

func newTable(axes []axisValues, product [][]Coordinate) *table {
	t := &table{n: len(product), axes: map[string]bool{}, have: map[Coordinate]bits{}}
	for _, a := range axes {
		t.axes[a.name] = true
	}
	for i, c := range product {
		for _, p := range c {
			if t.have[p] == nil {
				t.have[p] = newBits(t.n)
			}
			t.have[p].set(i)
		}
	}
	return t
}

// matching are the combinations that have all these values.
func (t *table) matching(values []Coordinate) bits {
	all := newBits(t.n)
	for i := range t.n {
		all.set(i)
	}
	for _, p := range values {
		all.and(t.have[p])
	}
	return all
}

// extended are combinations while include is put into them.
type extended struct {
	combinations [][]Coordinate
	at           []map[string]int // of those that became long: where each axis is
	written      int              // values that include wrote
}

// include extends the combinations that an entry does not contradict, or adds one.
func (x *extended) include(entry []Coordinate, t *table) error {
	mine := slices.DeleteFunc(slices.Clone(entry), func(p Coordinate) bool { return !t.axes[p.Axis] })
	matching := t.matching(mine)
	found := false
	for i := range t.n {
		if !matching.has(i) {
			continue
		}
		found = true
		if x.written += len(entry); x.written > maxPairs {
			return errPairs
		}
		x.extend(i, entry)
	}
	if found {
		return nil
	}
	if x.combinations = append(x.combinations, entry); len(x.combinations) > maxMembers {
		return fmt.Errorf("more than %d combinations", maxMembers)
	}
	return nil
}

// extend adds the values of an include; those of an earlier include give way.
func (x *extended) extend(i int, entry []Coordinate) {
	at := x.indexes(i)
	for _, p := range entry {
		if k, ok := at[p.Axis]; ok {
			x.combinations[i][k] = p
			continue
		}
		at[p.Axis] = len(x.combinations[i])
		x.combinations[i] = append(x.combinations[i], p)
	}
}

// indexes are those of the axes in a combination.
func (x *extended) indexes(i int) map[string]int {
	if len(x.at) <= i {
		x.at = append(x.at, make([]map[string]int, i+1-len(x.at))...)
	}
	if x.at[i] == nil {
		x.at[i] = make(map[string]int, len(x.combinations[i]))
		for k, p := range x.combinations[i] {
			x.at[i][p.Axis] = k
		}
	}
	return x.at[i]
}

// bits are a set of small numbers.
type bits []uint64

func newBits(n int) bits { return make(bits, (n+63)/64) }

func (b bits) set(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bits) has(i int) bool { return b[i/64]>>(i%64)&1 == 1 }

func (b bits) or(other bits) {
	for i := range b {
		b[i] |= other[i]
	}
}

// and keeps what is in the other as well, which may be nil for nothing.
func (b bits) and(other bits) {
	for i := range b {
		if other == nil {
			b[i] = 0
		} else {
			b[i] &= other[i]
		}
	}
}

// memberName is a member's name: test (os=linux, shard=a).
func memberName(family string, pairs []Coordinate) string {
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
	for _, d := range modules {
		taken[stem(d.name)] = true
	}
	prefixes := map[string]string{}
	for _, d := range modules {
		if !d.family() {
			continue
		}
		prefix := d.name + "-"
		for taken[strings.ToLower(prefix)] {
			prefix += "-"
		}
		taken[strings.ToLower(prefix)] = true
		prefixes[d.name] = prefix
	}
	return prefixes
}

// stem is the part of a name before the number at its end, in lower case;
// empty without such a number.
func stem(name string) string {
	before := strings.TrimRight(name, "0123456789")
	if before == name {
		return ""
	}
	return strings.ToLower(before)
}
