package pipeline

// wordSet is a list of words with a fast lookup. The zero value is empty.
type wordSet struct {
	words []string
	at    map[string]bool
}

// add appends a word; false when it was there already, and is not added.
func (s *wordSet) add(word string) bool {
	if s.at[word] {
		return false
	}
	if s.at == nil {
		s.at = map[string]bool{}
	}
	s.at[word] = true
	s.words = append(s.words, word)
	return true
}

func (s *wordSet) has(word string) bool { return s.at[word] }

// axes are those of a matrix.
type axes struct {
	names   []string        // which members may have, include's too; nil without a matrix
	set     map[string]bool // of names
	certain map[string]bool // those that every member has
}

func (a *axes) has(name string) bool { return a.set[name] }

// declareAxes lists the axes that members of a family may have. Certain are
// those that no member lacks: an entry of include that makes a member of its
// own has only those that it names.
func declareAxes(matrix *node) axes {
	if matrix == nil || matrix.Kind != mapNode {
		return axes{}
	}
	a := axes{names: []string{}, set: map[string]bool{}, certain: map[string]bool{}}
	add := func(name string) {
		if !a.set[name] {
			a.set[name] = true
			a.names = append(a.names, name)
		}
	}
	own := ownAxes(matrix)
	for _, name := range own {
		add(name)
	}
	named := map[string]int{}
	entries := matrix.get("include").elements()
	for _, entry := range entries {
		for _, k := range entry.Keys {
			add(k.Value)
			named[k.Value]++
		}
	}
	for _, name := range own {
		a.certain[name] = named[name] == len(entries)
	}
	return a
}

// ownAxes are the axes that a matrix itself names.
func ownAxes(matrix *node) []string {
	var names []string
	for _, k := range matrix.Keys {
		if k.Value != "include" && k.Value != "exclude" {
			names = append(names, k.Value)
		}
	}
	return names
}
