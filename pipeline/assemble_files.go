package pipeline

import (
	"fmt"
	"path"
	"strings"
)

// files checks what a module takes and leaves as the decoder of a file does, and
// puts globs and paths into their shortest form.
func (a *assembler) files(i int, m *Module) {
	a.produce(i, m)
	a.consume(i, m)
	a.cache(i, m)
	a.cacheDirs(i, m)
	for _, l := range m.Late {
		for _, part := range l.Text {
			if part.Expr != "" && part.At == "" { // a program's: those of a file have been checked
				a.lateExpression(i, m, l.Place, part.Expr)
			}
		}
	}
}

func (a *assembler) lateExpression(i int, m *Module, place, src string) {
	_, faults := compileExpression(src, &vocabulary{module: m.Name, field: place, reach: ready, hashes: isCacheKey(place)}, false)
	for _, f := range faults {
		a.fault(i, f.suggestion, "%s: %s: %s", m.Name, place, f.text)
	}
}

func (a *assembler) produce(i int, m *Module) {
	seen := map[string]bool{}
	for j := range m.Produce {
		p := &m.Produce[j]
		if !m.isLate(fmt.Sprintf("produce[%d].name", j)) {
			a.refuse(i, "artifact", validArtifact(p.Name))
		}
		if folded := strings.ToLower(p.Name); seen[folded] {
			a.fault(i, "an artifact may have several globs", "%s produces %q twice", m.Name, p.Name)
		} else {
			seen[folded] = true
		}
		a.globs(i, m, j, p)
	}
}

func (a *assembler) consume(i int, m *Module) {
	for j := range m.Consume {
		c := &m.Consume[j]
		if !m.isLate(fmt.Sprintf("consume[%d].name", j)) {
			a.refuse(i, "artifact", validArtifacts(c.Name))
		}
		if c.To == "" || m.isLate(fmt.Sprintf("consume[%d].to", j)) {
			continue
		}
		to, err := parseDestination(c.To)
		a.refuse(i, "the directory of artifact "+c.Name, err)
		c.To = to
	}
}

func (a *assembler) globs(i int, m *Module, number int, p *Produce) {
	takes := false
	for k, glob := range p.Paths {
		if m.isLate(fmt.Sprintf("produce[%d].path[%d]", number, k)) {
			takes = true
			continue
		}
		clean, err := parseArtifactGlob(glob)
		a.refuse(i, "artifact "+p.Name, err)
		takes = takes || !strings.HasPrefix(glob, "!")
		p.Paths[k] = clean
	}
	switch {
	case len(p.Paths) == 0:
		a.fault(i, `"**" takes all files of the workspace`, "%s: artifact %s has no globs", m.Name, p.Name)
	case !takes:
		a.fault(i, `add what it takes, such as "**"`, "%s: the globs of artifact %s only exclude", m.Name, p.Name)
	}
}

func (a *assembler) cache(i int, m *Module) {
	if m.Cache == nil {
		return
	}
	for k, glob := range m.Cache.Inputs {
		clean, err := parseGlob(glob)
		a.refuse(i, "inputs", err)
		m.Cache.Inputs[k] = clean
	}
	fromFile := m.Dynamic != nil && m.Dynamic.Template != nil // its members' platform may not be known yet
	if !m.Cache.Portable && !fromFile && (m.Requires.OS == "" || m.Requires.Arch == "") {
		a.fault(i, `write Requires{OS: "linux", Arch: "amd64"}, or in Cache Portable: true if the result is the same everywhere`,
			"%s is cached, and nothing says for which OS and Arch", m.Name)
	}
	if m.Policy.AlwaysRun {
		a.fault(i, "", "%s is always-run: a cached result would take the place of what it has to do each time", m.Name)
	}
}

func (a *assembler) cacheDirs(i int, m *Module) {
	for j := range m.CacheDirs {
		c := &m.CacheDirs[j]
		what := "cache directory " + c.Name
		a.refuse(i, "cache directory", validName(c.Name))
		switch {
		case c.Path != "" && c.Env != "":
			a.fault(i, "", "%s: %s has a path and a variable: it is at one of them", m.Name, what)
		case c.Path == "" && c.Env == "":
			a.fault(i, `write Path: "node_modules", or Env: "GOMODCACHE" for a variable that holds its path`, "%s: %s has neither a path nor a variable", m.Name, what)
		case c.Path != "":
			a.refuse(i, what, validSubdirectory(c.Path))
			c.Path = path.Clean(c.Path)
		default:
			a.refuse(i, what, validEnv(c.Env))
		}
		if strings.TrimSpace(c.Key) == "" {
			a.fault(i, "", "%s: %s has no key", m.Name, what)
		}
		for _, r := range c.Restore {
			if strings.TrimSpace(r) == "" {
				a.fault(i, "", "%s: %s: a beginning of a key is empty: every key begins with it", m.Name, what)
			}
		}
		for _, other := range m.CacheDirs[:j] {
			if c.clashes(&other) {
				a.fault(i, "", "%s: cache directories %s and %s have one name or place, or one is inside the other", m.Name, other.Name, c.Name)
			}
		}
	}
}

// clashes reports whether two directories have the same name or place.
func (c *CacheDir) clashes(other *CacheDir) bool {
	return strings.EqualFold(c.Name, other.Name) || c.Env != "" && c.Env == other.Env ||
		c.Path != "" && other.Path != "" && (inside(c.Path, other.Path) || inside(other.Path, c.Path))
}
