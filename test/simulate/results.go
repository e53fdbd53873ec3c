package simulate

import (
	"errors"
	"slices"
	"time"

	"github.com/modpipe/modpipe/internal/wire"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/schedule"
)

// reading is a module's use of one need. It is the output "word", which the
// condition compares and the command contains, or the list with the members of a
// family.
type reading struct {
	need   string
	want   string // the word for which the condition holds; empty = no condition reads it
	orElse bool   // an output that was not set counts as "none"; else it cannot be read
	text   bool   // the word is an argument of the command
}

// word returns the expression that reads the output.
func (r reading) word() string {
	if r.orElse {
		return "(needs." + r.need + ".outputs.word ?? 'none')"
	}
	return "needs." + r.need + ".outputs.word"
}

// lister is the Go function of modules that return a list.
const lister = "list"

// lists turns some modules into ones that return a list.
func (w *world) lists(m *pipeline.Module) {
	if w.chance(w.climate.lists) {
		m.Command, m.Func = nil, &pipeline.Func{Name: lister}
	}
}

// expands turns some modules into a family. It has a member for each element of
// the list that one of its needs returns.
func (w *world) expands(p *pipeline.Pipeline, m *pipeline.Module) {
	for _, n := range m.Needs {
		need := p.Modules[slices.IndexFunc(p.Modules, func(o *pipeline.Module) bool { return o.Name == n.Module })]
		if need.Func == nil || need.Dynamic != nil || !w.chance(w.climate.families) {
			continue
		}
		member := *m
		m.Family, m.Dynamic = m.Name, &pipeline.Dynamic{Reads: []string{n.Module}, Member: &member, Prefix: m.Name + "-"}
		p.Families[m.Name] = []int{len(p.Modules)}
		return
	}
}

// reads makes the condition and the command of some modules read a need.
func (w *world) reads(r *run, p *pipeline.Pipeline, m *pipeline.Module) {
	for _, n := range m.Needs {
		need := p.Modules[slices.IndexFunc(p.Modules, func(o *pipeline.Module) bool { return o.Name == n.Module })]
		if need.Func != nil || need.Dynamic != nil || !w.chance(w.climate.reads) {
			continue
		}
		x := reading{need: n.Module, orElse: w.chance(0.7)}
		if w.chance(0.5) {
			x.want = one(w.rand, words...)
			m.If = x.word() + " == '" + x.want + "'"
		}
		if x.text = m.Command != nil && w.chance(0.6); x.text {
			m.Command = &pipeline.Command{Args: []pipeline.Text{{{Literal: "echo"}}, {{Expr: x.word()}}}}
		}
		r.readings[m.Name] = x
		return
	}
}

// words are the values of outputs.
var words = []string{"go", "stop"}

// result draws the value of a successful execution.
func (w *world) result(job *jobs.Job) jobs.Value {
	var v jobs.Value
	switch {
	case job.Func != nil:
		list := []string{"x", "y", "z"}[:w.rand.IntN(4)]
		data, err := wire.Encode(list)
		if err != nil {
			panic(err) // a list of texts always encodes
		}
		v = jobs.ResultOf(data)
	case w.chance(0.85):
		v = jobs.OutputsOf(map[string]string{"word": one(w.rand, words...)})
	default:
		return v
	}
	if w.chance(w.climate.large) {
		return w.server.store(v)
	}
	return v
}

// stored is a value in the object store.
type stored struct {
	value   jobs.Value
	damaged bool // reading it fails
}

var errDamaged = errors.New("the stored copy is damaged")

// store stores a value and returns a reference to it.
func (s *server) store(v jobs.Value) jobs.Value {
	digest := s.w.name("blob")
	s.blobs[digest] = stored{v, s.w.chance(s.w.climate.damaged)}
	return jobs.Value{Kind: v.Kind, Ref: jobs.Blob{SHA256: digest, Bytes: 1 << 20}}
}

// load returns a value inline.
func (s *server) load(v jobs.Value) (jobs.Value, error) {
	if !v.ByRef() {
		return v, nil
	}
	b := s.blobs[v.Ref.SHA256]
	if b.damaged {
		return b.value, errDamaged
	}
	return b.value, nil
}

// fetch loads values by reference. A large value may take long.
func (l *loop) fetch(a schedule.Fetch) {
	w := l.d.o.w
	load := func() { l.d.persist("fetch values", func() func() { return l.answered(w.server.loadAll(l, a)) }) }
	if w.chance(0.5) {
		load()
		return
	}
	l.d.o.after(w.between(time.Millisecond, one(w.rand, 100*time.Millisecond, time.Second, 8*time.Second)), "finishes a slow fetch", l.d.during(load))
}

// loadAll loads values for a loop. It returns a function that hands them to the
// loop.
func (s *server) loadAll(l *loop, a schedule.Fetch) func() {
	var values []jobs.Value
	var err error
	for _, ref := range a.Refs {
		v, lerr := s.load(ref.Value)
		if lerr != nil && err == nil {
			err = ref.Unread(lerr)
		}
		values = append(values, v)
	}
	return func() { l.dispatcher.Fetched(a, values, err) }
}

// word returns the word that a module reads, or why it cannot be read.
func (t *truth) word(w *world, x reading) (string, error) {
	v, err := w.server.load(t.values[x.need])
	if err != nil {
		return "", err
	}
	outputs, err := v.Outputs()
	if err != nil {
		return "", err
	}
	word, set := outputs["word"]
	switch {
	case set:
		return word, nil
	case x.orElse:
		return "none", nil
	}
	return "", errors.New("the output was not set")
}

// condition evaluates the condition of a module a second time, independently.
func (t *truth) condition(w *world, m *pipeline.Module) (bool, error) {
	x, reads := t.readings[t.declared(m)]
	switch {
	case m.If == wrong:
		return false, errors.New("the condition cannot be evaluated")
	case m.If == "false":
		return false, nil
	case !reads || x.want == "":
		return true, nil
	}
	word, err := t.word(w, x)
	return word == x.want, err
}

// declared returns the name of a module in the pipeline's declaration.
func (t *truth) declared(m *pipeline.Module) string {
	if m.Family != "" {
		return m.Family
	}
	return m.Name
}
