package pipeline

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// eachText calls f for every text of Files that may be late, with its place.
func (f *Files) eachText(do func(field string, text *string)) {
	for i := range f.Produce {
		do(fmt.Sprintf("produce[%d].name", i), &f.Produce[i].Name)
		for j := range f.Produce[i].Paths {
			do(fmt.Sprintf("produce[%d].path[%d]", i, j), &f.Produce[i].Paths[j])
		}
	}
	for i := range f.Consume {
		do(fmt.Sprintf("consume[%d].name", i), &f.Consume[i].Name)
		do(fmt.Sprintf("consume[%d].to", i), &f.Consume[i].To)
	}
	for i := range f.CacheDirs {
		dir := &f.CacheDirs[i]
		do("cache-dirs."+dir.Name+".key", &dir.Key)
		for j := range dir.Restore {
			do(fmt.Sprintf("cache-dirs.%s.restore[%d]", dir.Name, j), &dir.Restore[j])
		}
	}
}

// clone copies what eachText may change.
func (f Files) clone() Files {
	f.Produce, f.Consume, f.CacheDirs = slices.Clone(f.Produce), slices.Clone(f.Consume), slices.Clone(f.CacheDirs)
	for i := range f.Produce {
		f.Produce[i].Paths = slices.Clone(f.Produce[i].Paths)
	}
	for i := range f.CacheDirs {
		f.CacheDirs[i].Restore = slices.Clone(f.CacheDirs[i].Restore)
	}
	return f
}

// ResolveFiles puts the results of needs, and digests of files, into what m
// takes and leaves. The result may share memory with m: nothing may change it.
// The error names every expression that failed, and its place, or the value
// that is no name, glob or path.
func (p *Pipeline) ResolveFiles(m *Module, s Scope) (Files, error) {
	f := Files{Produce: m.Produce, Consume: m.Consume, CacheDirs: m.CacheDirs}
	if len(m.Late) == 0 {
		return f, nil
	}
	f = f.clone()
	texts := map[string]*string{}
	f.eachText(func(field string, text *string) { texts[field] = text })
	e, scope := p.evaluator(m), scopeOf(m, s)
	var errs []error
	for _, late := range m.Late {
		text, ok := texts[late.Place]
		if !ok {
			return Files{}, fmt.Errorf("%s: there is no text %s to put a value into", m.Name, late.Place)
		}
		v, err := late.Text.resolve(e, late.Place, scope)
		if err == nil {
			v, err = lateValue(late, v)
		}
		if err != nil {
			errs = append(errs, err)
		}
		*text = v
	}
	if len(errs) == 0 {
		errs = append(errs, f.repeated())
	}
	return f, errors.Join(errs...)
}

// lateValue checks what an expression gave as the decoder checks what is written.
func lateValue(l Late, v string) (string, error) {
	clean, err := v, error(nil)
	switch {
	case strings.HasPrefix(l.Place, "produce") && strings.HasSuffix(l.Place, ".name"):
		err = validArtifact(v)
	case strings.HasPrefix(l.Place, "produce"):
		clean, err = parseArtifactGlob(v)
	case strings.HasPrefix(l.Place, "consume") && strings.HasSuffix(l.Place, ".name"):
		err = validArtifacts(v)
	case strings.HasPrefix(l.Place, "consume"):
		clean, err = parseDestination(v)
	case strings.HasPrefix(l.Place, "cache-dirs") && strings.TrimSpace(v) == "":
		err = errors.New("it is empty")
	}
	if err == nil {
		return clean, nil
	}
	at := l.Place
	for _, part := range l.Text {
		if part.At != "" {
			at = part.At + ": " + at
			break
		}
	}
	return "", fmt.Errorf("%s: %s: %w", at, l.Text, err)
}

// repeated refuses two artifacts of one name, which expressions gave.
func (f *Files) repeated() error {
	seen := map[string]bool{}
	for _, p := range f.Produce {
		folded := strings.ToLower(p.Name)
		if seen[folded] {
			return fmt.Errorf("two artifacts of the module are named %q", p.Name)
		}
		seen[folded] = true
	}
	return nil
}

// lateExpressions are the sources of the expressions in Late.
func (m *Module) lateExpressions() []string {
	var exprs []string
	for _, l := range m.Late {
		exprs = append(exprs, l.Text.exprs()...)
	}
	return exprs
}

// exprs are the expressions of a text.
func (t Text) exprs() []string {
	var exprs []string
	for _, part := range t {
		if part.Expr != "" {
			exprs = append(exprs, part.Expr)
		}
	}
	return exprs
}

// HashesFiles reports whether ResolveFiles or ResolveKey calls Scope.HashFiles:
// the run needs a snapshot.
func (m *Module) HashesFiles() bool {
	exprs := m.lateExpressions()
	if m.Cache != nil {
		for _, t := range m.Cache.Key {
			exprs = append(exprs, t.exprs()...)
		}
	}
	vocab := m.vocabulary()
	return slices.ContainsFunc(exprs, func(src string) bool { return readsOf(src, vocab).files })
}

// Takes reports whether c takes artifacts of a name.
func (c *Consume) Takes(name string) bool {
	ok, err := path.Match(c.Name, name) // a name has no slash
	return err == nil && ok
}

// Sources are the direct needs of m from which it takes c, with the axes on
// which the members that count are the same: Resolve finds the modules. What
// these have produced decides which artifacts there are: Takes. None for an
// artifact of another run.
func (m *Module) Sources(c Consume) []Need {
	if c.FromRun != nil {
		return nil
	}
	var needs []Need
	for _, n := range m.Needs {
		if c.From == "" || c.From == n.Module {
			n.Same = sortedSet(slices.Concat(n.Same, c.Same))
			needs = append(needs, n)
		}
	}
	return needs
}

// MayLack reports whether m runs without an artifact that a producer in need n
// declares as p and has not left: nothing is restored then. Otherwise
// m fails, with an error that names the artifact.
func (m *Module) MayLack(n Need, p Produce) bool {
	return n.Optional || p.Optional || p.When == OnFailure || m.Policy.AlwaysRun
}

// KnownArtifacts are the artifacts that m produces whose names are known before
// it is ready: those of Produce without an expression that is late.
func (m *Module) KnownArtifacts() []Produce {
	if len(m.Late) == 0 {
		return m.Produce
	}
	var known []Produce
	for i, p := range m.Produce {
		if !m.isLate(fmt.Sprintf("produce[%d].name", i)) {
			known = append(known, p)
		}
	}
	return known
}
