package modpipe

import (
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modpipe/modpipe/pipeline"
)

// Builder takes the modules of a pipeline, in a definition: a func(*Builder)
// that is run in every process that has to do with the pipeline, and must
// make the same graph each time. Its fields may be set by the definition.
type Builder struct {
	Name     string        // of the pipeline; the program's, unless the definition says otherwise
	Deadline time.Duration // over the whole run; 0 = none
	Grace    time.Duration // of modules that give none; 0 = 10 s
	FailSlow bool          // go on with what does not depend on a failure, and report all of them
	Defaults []Option      // of modules that are added from here on

	modules   []*module
	byName    map[string]*module
	params    []*param
	calls     []*executor
	functions map[string]*usable
	includes  []*include
	outputs   []edge // modules of files that values are of
	limits    map[string]limit
	faults    pipeline.Faults
	suggested int // faults for which corrections were looked for
	shared    shared
	checked   bool // the definition has been found without faults before: places are not needed
}

// module is a module of a definition.
type module struct {
	b           *Builder
	at          callSite
	name        string
	exec        *executor
	result      reflect.Type
	taken       []taking
	needs       []pipeline.Need // of all that; nil until asked for
	conds       []condition     // all must be true
	retryIf     func(error) bool
	retryPanics bool
	ignoreIf    func(error) bool
	ownGrace    bool // an Info has given it one
	clusterKeys []string
	consumed    []consumed // by Consume
	version     string     // instead of the program's digest, of a cached module
	each        *each      // of a family that follows from a list
	node        pipeline.Module
}

func newBuilder(name string) *Builder {
	return &Builder{
		Name: name, byName: map[string]*module{}, functions: map[string]*usable{}, limits: map[string]limit{},
	}
}

// Added are the values of all modules that have been added or included so far,
// in this order, for Outcomes and After. A family of an included file is one.
func (b *Builder) Added() []Need {
	var needs []Need
	next := 0
	for _, inc := range b.includes {
		for ; next < inc.after; next++ {
			needs = append(needs, resultOf[any](b.modules[next]))
		}
		for _, name := range inc.modules {
			needs = append(needs, outputsOf(b, name, inc.at))
		}
	}
	for ; next < len(b.modules); next++ {
		needs = append(needs, resultOf[any](b.modules[next]))
	}
	return needs
}

// Add adds a module to the pipeline and returns the value that represents its
// result. "build (os=linux)" is a member of the family build. A module without
// a result returns struct{}.
func Add[T any](b *Builder, name string, e Executor[T], opts ...Option) Value[T] {
	at := caller()
	m := b.newModule(name, at, reflect.TypeFor[T]())
	if e == nil {
		b.fault(at, "", "%s has no executor", name)
		return resultOf[T](m)
	}
	m.execute(e.executor(at))
	m.options(opts)
	if m.exec.command != nil {
		return commandValue[T](m)
	}
	return resultOf[T](m)
}

// newModule enters a module. The checks of its name are the file's.
func (b *Builder) newModule(name string, at callSite, result reflect.Type) *module {
	m := &module{b: b, at: at, name: name, result: result}
	m.node = pipeline.Module{Name: name, Slots: 1, Policy: pipeline.DefaultPolicy()}
	if b.byName == nil {
		b.fault(at, "the library creates the Builder: pass your definition to Build or cli.Main", "this Builder was not created by Build or cli.Main")
		return m
	}
	b.modules = append(b.modules, m)
	if b.byName[name] == nil {
		b.byName[name] = m
	}
	if b.checked {
		return m
	}
	if why := loss(result); why != "" {
		b.fault(at, "a result is data that another machine can read", "%s: its result cannot travel: %s", name, why)
	}
	return m
}

// execute sets the module's executor, and adds its needs.
func (m *module) execute(e *executor) {
	m.exec = e
	e.added = true
	if e.b != nil && e.b != m.b {
		m.b.foreign(m.at)
	}
	for _, text := range e.faults {
		m.b.fault(e.at, "", "%s: %s", m.name, text)
	}
	for _, up := range e.inputs {
		m.take(up, e.at, true)
	}
}

func (m *module) options(opts []Option) {
	for _, o := range slices.Concat(m.b.Defaults, opts) {
		if o == nil {
			m.b.fault(m.at, "", "%s has an option that is nil", m.name)
			continue
		}
		o.apply(m)
	}
	for _, k := range m.clusterKeys {
		if slices.Contains(m.node.Policy.Keys, k) {
			m.b.fault(m.at, "", "%s: key %q has two scopes: the run and the cluster", m.name, k)
		}
	}
}

// take adds the needs of a value that the module reads, or waits for.
func (m *module) take(up *upstream, at callSite, reads bool) {
	if up == nil {
		m.b.fault(at, "", "%s reads a value that no Add has returned", m.name)
		return
	}
	if up.b != nil && up.b != m.b {
		m.b.foreign(at)
		return
	}
	m.taken = append(m.taken, taking{up, at, reads})
}

// taking is an upstream that a module takes: many may share a large one.
type taking struct {
	up    *upstream
	at    callSite
	reads bool
}

// use is what becomes of an edge of the upstream.
func (t taking) use(e edge) pipeline.Use {
	switch {
	case !t.reads:
		return pipeline.Waits
	case e.reads:
		return pipeline.Reads
	}
	return pipeline.Hears
}

// edges are the needs of everything that the module takes.
func (m *module) edges(yield func(edge) bool) {
	for _, t := range m.taken {
		for _, e := range t.up.edges {
			if e.name == "" {
				continue // the zero Value: a fault
			}
			e.reads, e.at = e.reads && t.reads, t.at
			if !yield(e) {
				return
			}
		}
	}
}

// current is the definition that is running. Call has no Builder among its arguments,
// and a call that is never added to a pipeline is a fault; so a call without inputs
// finds its Builder here, and definitions run one at a time.
var (
	current    atomic.Pointer[Builder]
	oneAtATime sync.Mutex
)

func defining() *Builder { return current.Load() }
