package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// SplitMember takes the name of a family's member apart: "build (os=linux,
// arch=arm64)" is of the family build. A name without brackets is alone; the
// error says what is wrong with it.
func SplitMember(name string) (family string, pairs []Coordinate, err error) {
	head, rest, member := strings.Cut(name, " (")
	if err := validName(head); err != nil {
		return "", nil, err
	}
	if !member {
		return "", nil, nil
	}
	rest, closed := strings.CutSuffix(rest, ")")
	if !closed {
		return "", nil, fmt.Errorf("%q is not the name of a member: NAME (axis=value, axis=value)", name)
	}
	for word := range strings.SplitSeq(rest, ", ") {
		axis, value, ok := strings.Cut(word, "=")
		if !ok || validName(axis) != nil {
			return "", nil, fmt.Errorf("%q is not the name of a member: NAME (axis=value, axis=value)", name)
		}
		if err := validAxisValue(value); err != nil {
			return "", nil, err
		}
		pairs = append(pairs, Coordinate{axis, value})
	}
	return head, pairs, nil
}

// names refuses invalid and repeated names, without regard to case;
// a family and a module do not share one.
func (a *assembler) names() {
	type holder struct {
		index  int
		family bool
	}
	seen := map[string]holder{}
	for i, m := range a.p.Modules {
		if m.Token == "" && m.Dynamic == nil {
			family, pairs, err := SplitMember(m.Name)
			if err != nil {
				a.fault(i, "", "%v", err)
				continue
			}
			m.Family, m.Matrix = family, pairs
		}
		if err := validName(m.Name); m.Token == "" && m.Dynamic != nil && err != nil {
			a.fault(i, "", "%v", err)
		}
		for _, name := range []string{m.Name, m.Family} {
			folded := strings.ToLower(name)
			family := name == m.Family && m.Family != ""
			first, ok := seen[folded]
			switch {
			case name == "" || ok && first.index == i || ok && family && first.family:
			case ok:
				a.fault(i, "", "module %q is there already%s", name, a.before(first.index))
			default:
				seen[folded] = holder{i, family}
			}
		}
	}
}

// before describes the place of an earlier module.
func (a *assembler) before(i int) string {
	if i >= len(a.places) || a.places[i].File == "" {
		return ""
	}
	return fmt.Sprintf(", at %s:%d", a.places[i].File, a.places[i].Line)
}

// tokens gives every module without a token the word that names it in subjects.
func (a *assembler) tokens() {
	stems := map[string]bool{}
	for _, m := range a.p.Modules {
		stems[stem(m.Name)] = true
		stems[stem(m.Token)] = true
	}
	prefixes, numbers := map[string]string{}, map[string]int{}
	for _, m := range a.p.Modules {
		if m.Token != "" {
			continue
		}
		if m.Family == "" {
			m.Token = m.Name
			continue
		}
		prefix, ok := prefixes[m.Family]
		if !ok {
			prefix = freePrefix(m.Family, stems)
			prefixes[m.Family] = prefix
		}
		if m.Dynamic != nil {
			m.Token, m.Dynamic.Prefix = m.Name, prefix
			continue
		}
		m.Token = fmt.Sprintf("%s%d", prefix, numbers[m.Family])
		numbers[m.Family]++
	}
}

// freePrefix is a beginning of tokens that nothing else has before a number.
func freePrefix(family string, stems map[string]bool) string {
	prefix := family + "-"
	for stems[strings.ToLower(prefix)] {
		prefix += "-"
	}
	stems[strings.ToLower(prefix)] = true
	return prefix
}

// families rebuilds the table of families: modules may have moved.
func (a *assembler) families() {
	a.p.Families = map[string][]int{}
	for i, m := range a.p.Modules {
		if m.Family != "" {
			a.p.Families[m.Family] = append(a.p.Families[m.Family], i)
		}
	}
}

// needs checks that what is needed exists, and that nothing waits for itself.
func (a *assembler) needs() {
	var names []string
	known := map[string]bool{}
	for _, m := range a.p.Modules {
		for _, name := range []string{m.Family, m.Name} {
			if name != "" && !known[name] {
				known[name] = true
				names = append(names, name)
			}
		}
	}
	numbers, faulty := a.faultyNeeds(known)
	for i, m := range a.p.Modules {
		if !faulty[numbers[i]] {
			continue
		}
		if a.full() {
			break
		}
		for _, n := range m.Needs {
			switch {
			case !known[n.Module]:
				a.fault(i, a.hint(func() string { return knownOr(n.Module, names, "modules") }), "%s needs %q, which does not exist", m.Name, n.Module)
			case n.Module == m.Name:
				a.fault(i, "", "%s needs itself", m.Name)
			}
		}
	}
	if len(a.faults) == 0 {
		a.cycles()
	}
}

// faultyNeeds numbers the lists of needs by module, and tells in which of
// them something is wrong.
func (a *assembler) faultyNeeds(known map[string]bool) (numbers []int, faulty map[int]bool) {
	var lists NeedLists
	numbers, faulty = make([]int, len(a.p.Modules)), map[int]bool{}
	for i, m := range a.p.Modules {
		numbers[i] = lists.Number(m.Needs)
	}
	at := index(a.p.Modules)
	for i, list := range lists.Lists {
		for _, n := range list {
			j, module := at[n.Module]
			if !known[n.Module] || module && numbers[j] == i+1 {
				faulty[i+1] = true
			}
		}
	}
	return numbers, faulty
}

// cycles reports a cycle that the first module which is on one is on, if
// there is one.
func (a *assembler) cycles() {
	r := NewResolver(a.p.Modules, a.p.Families)
	if a.ordered(r) {
		return
	}
	n := len(a.p.Modules)
	cycles := a.arrows(r).cycles()
	if len(cycles) == 0 {
		return
	}
	var names []string
	for _, i := range cycles[0] {
		if i < n {
			names = append(names, a.p.Modules[i].Name)
		}
	}
	a.fault(cycles[0][0], "", "cycle: %s", strings.Join(names, " → "))
}

// arrows lead from each module to its list of needs, a separate node after
// all modules, and from there to the modules of the list: the members of a
// family share the list.
func (a *assembler) arrows(r *Resolver) arrows {
	n := len(a.p.Modules)
	g, at := make(arrows, n), map[int]int{}
	var lists NeedLists
	for i, m := range a.p.Modules {
		number := lists.Number(m.Needs)
		if list, ok := at[number]; ok && m.shares() {
			g[i] = []int{list}
			continue
		}
		list := len(g)
		g = append(g, nil)
		g[i] = []int{list}
		if m.shares() {
			at[number] = list
		}
		for _, need := range m.Needs {
			g[list] = append(g[list], r.Resolve(m, need)...)
		}
	}
	return g
}

// shares reports whether the needs of m resolve to the same modules as an equal list of another module.
func (m *Module) shares() bool {
	return m.Dynamic == nil && !slices.ContainsFunc(m.Needs, func(n Need) bool { return len(n.Same) > 0 })
}

// ordered reports whether every module can come after all that it needs.
func (a *assembler) ordered(r *Resolver) bool {
	w := waiting{before: make([][]*waiters, len(a.p.Modules)), shared: map[int]*waiters{}}
	for i, m := range a.p.Modules {
		w.add(i, m, func(n Need) []int { return r.Resolve(m, n) })
	}
	done := 0
	for ; done < len(w.ready); done++ {
		for _, g := range w.before[w.ready[done]] {
			if g.waits--; g.waits == 0 {
				w.ready = append(w.ready, g.modules...)
			}
		}
	}
	return done == len(a.p.Modules)
}

// waiting is which modules wait for which.
type waiting struct {
	ready  []int
	before [][]*waiters // by module
	lists  NeedLists
	shared map[int]*waiters // by the number of the list
}

// waiters are modules that wait for the same.
type waiters struct {
	modules []int
	waits   int
}

func (w *waiting) add(i int, m *Module, resolve func(Need) []int) {
	number := 0 // of a list that resolves to the same modules for every module
	if m.shares() {
		number = w.lists.Number(m.Needs)
	}
	if g := w.shared[number]; g != nil && g.waits > 0 {
		g.modules = append(g.modules, i)
		return
	}
	g := &waiters{modules: []int{i}}
	for _, n := range m.Needs {
		for _, j := range resolve(n) {
			g.waits++
			w.before[j] = append(w.before[j], g)
		}
	}
	if g.waits == 0 {
		w.ready = append(w.ready, i)
		return
	}
	if number > 0 {
		w.shared[number] = g
	}
}

// module checks what the file's shapes check, and fills the defaults.
func (a *assembler) module(i int, m *Module) {
	if m.Func == nil && m.Command == nil {
		return
	}
	a.requirements(i, m)
	if m.Command != nil {
		a.command(i, m)
	}
	if m.Slots < 1 || m.Slots > maxSlots {
		a.fault(i, "", "%s: slots must be from 1 to %d, not %d", m.Name, maxSlots, m.Slots)
	}
	a.policy(i, m)
	a.exclusion(i, m)
	a.files(i, m)
	a.secrets(i, m)
	if m.Dynamic != nil && m.Dynamic.Member != nil {
		one := *m
		one.Dynamic = nil
		m.Dynamic.Member = &one
	}
}

func (a *assembler) command(i int, m *Module) {
	c := m.Command
	if c.Run != "" && c.Args != nil || c.Run == "" && len(c.Args) == 0 {
		a.fault(i, "", "%s: a command has Run or Args, exactly one of them", m.Name)
	}
	if c.Shell != "" && !slices.Contains(shells, c.Shell) {
		a.fault(i, a.hint(func() string { return didYouMean(c.Shell, shells) }), "%s: shell %q is not one of %s", m.Name, c.Shell, strings.Join(shells, ", "))
	}
	dir, err := parseDir(c.Dir)
	a.refuse(i, "dir", err)
	if err == nil {
		c.Dir = dir
	}
	for _, v := range c.Env {
		a.refuse(i, "env", validEnv(v.Name))
	}
	for _, v := range c.PassEnv {
		a.refuse(i, "pass-env", validPassEnv(v))
	}
}

func (a *assembler) policy(i int, m *Module) {
	p := &m.Policy
	if p.Retry.Attempts < 1 || p.Retry.Attempts > maxAttempts {
		a.fault(i, "", "%s: attempts must be from 1 to %d, not %d", m.Name, maxAttempts, p.Retry.Attempts)
	}
	if p.Retry.MaxDelay < p.Retry.Delay {
		a.fault(i, "", "%s: the longest delay %s is below the delay %s", m.Name, p.Retry.MaxDelay, p.Retry.Delay)
	}
	for _, d := range []struct {
		what string
		time.Duration
	}{{"timeout", p.Timeout}, {"grace", p.Grace}, {"queue timeout", p.QueueTimeout}, {"delay", p.Retry.Delay}} {
		if d.Duration < 0 {
			a.fault(i, "", "%s: the %s is negative", m.Name, d.what)
		}
	}
}

func (a *assembler) exclusion(i int, m *Module) {
	p := &m.Policy
	for _, k := range p.Keys {
		if strings.TrimSpace(k) == "" {
			a.fault(i, "", "%s: a key of not-in-parallel is empty", m.Name)
		}
	}
	for _, l := range p.Limits {
		a.refuse(i, "limit", validName(l))
		most, whose := maxLimit, ""
		if a.cluster[l] {
			most, whose = maxClusterLimit, " of the cluster"
		}
		if n := a.p.Limits[l]; n < 1 || n > most {
			a.fault(i, "", "%s: limit %q%s must be from 1 to %d, not %d", m.Name, l, whose, most, n)
		}
	}
	p.Keys, p.ClusterKeys, p.Limits = sortedSet(p.Keys), sortedSet(p.ClusterKeys), sortedSet(p.Limits)
	a.keyUses(i, m)
}

// keyUses refuses a key that is the run's at one module and the cluster's at another.
func (a *assembler) keyUses(i int, m *Module) {
	for _, k := range m.Policy.Keys {
		_, cluster := slices.BinarySearch(m.Policy.ClusterKeys, k)
		before, ok := a.keys[k]
		if !ok {
			a.keys[k] = keyUse{cluster, m.Name}
			continue
		}
		if before.cluster != cluster {
			a.fault(i, "give it the same scope everywhere", "%s: key %q has two scopes: %s has another one", m.Name, k, before.module)
		}
	}
}

// keyUse is how the first module that names a key does so.
type keyUse struct {
	cluster bool
	module  string
}

// refuse makes a fault of err, if it is one.
func (a *assembler) refuse(i int, what string, err error) {
	if err != nil {
		a.fault(i, "", "%s: %s: %v", a.p.Modules[i].Name, what, err)
	}
}

// requirements puts them into lower case and order, so that equal ones are equal data.
func (a *assembler) requirements(i int, m *Module) {
	r := &m.Requires
	r.OS, r.Arch = strings.ToLower(r.OS), strings.ToLower(r.Arch)
	if r.OS != "" {
		a.refuse(i, "os", validPlatform(r.OS))
	}
	if r.Arch != "" {
		a.refuse(i, "arch", validPlatform(r.Arch))
	}
	var tools []Tool
	for _, t := range r.Tools {
		parsed, err := parseTool(t.String())
		a.refuse(i, "tool", err)
		tools = append(tools, parsed)
	}
	r.Tools = addTools(nil, tools...)
	for j, t := range r.Tags {
		a.refuse(i, "tag", validWord(t))
		r.Tags[j] = strings.ToLower(t)
	}
	r.Tags = sortedSet(r.Tags)
	for j, l := range r.Labels {
		a.refuse(i, "label", validWord(l.Key))
		a.refuse(i, "label "+l.Key, validWord(l.Value))
		r.Labels[j] = KeyValue{strings.ToLower(l.Key), strings.ToLower(l.Value)}
	}
	slices.SortFunc(r.Labels, func(x, y KeyValue) int { return strings.Compare(x.Key, y.Key) })
	if r.CPUs < 0 || r.Memory < 0 {
		a.fault(i, "", "%s: cpus and memory are not negative", m.Name)
	}
	a.refuse(i, "requires", r.fit())
}

// ParseTool reads a tool as a file writes it: "go", "go>=1.26".
func ParseTool(s string) (Tool, error) { return parseTool(s) }

// ParseMemory reads an amount of memory as a file writes it: "512Mi", "16Gi".
func ParseMemory(s string) (int64, error) {
	return parseMemory(s)
}

// DefaultPolicy is the policy of a module that sets nothing.
func DefaultPolicy() Policy {
	return Policy{
		Timeout: defaultTimeout, TimeoutByDefault: true, Grace: defaultGrace, QueueTimeout: defaultQueueTimeout,
		MaxLosses: defaultMaxLosses, Retry: Retry{Attempts: 1, Delay: defaultDelay, MaxDelay: defaultMaxDelay},
	}
}
