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

// reading is what a module reads of one need: its output "word", which is
// compared in the condition and put into the command, or its list, which gives
// the members of a family.
type reading struct {
	need   string
	want   string // of the condition; empty = no condition reads
	orElse bool   // an output that was not set counts as "none"; else it cannot be read
	text   bool   // the command has the word as its argument
}

// word is the expression that reads the output.
func (r reading) word() string {
	if r.orElse {
		return "(needs." + r.need + ".outputs.word ?? 'none')"
	}
	return "needs." + r.need + ".outputs.word"
}

// lister is the Go function of modules that return a list.
const lister = "list"

// lists makes a module one that returns a list.
func (w *world) lists(m *pipeline.Module) {
	if w.chance(w.climate.lists) {
		m.Command, m.Func = nil, &pipeline.Func{Name: lister}
	}
}

// expands makes a module a family, with a member for each element of the list
// that one of its needs returns.
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

// reads has the condition and the command of a module read a need.
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

// result is what a successful execution leaves.
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
	damaged bool // it cannot be read
}

var errDamaged = errors.New("the stored copy is damaged")

// store keeps a value by reference.
func (s *server) store(v jobs.Value) jobs.Value {
	digest := s.w.name("blob")
	s.blobs[digest] = stored{v, s.w.chance(s.w.climate.damaged)}
	return jobs.Value{Kind: v.Kind, Ref: jobs.Blob{SHA256: digest, Bytes: 1 << 20}}
}

// load is a value inline.
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

// fetch loads values by reference. What is large may take long.
func (l *loop) fetch(a schedule.Fetch) {
	w := l.d.o.w
	load := func() { l.d.persist("fetch values", func() func() { return l.answered(w.server.loadAll(l, a)) }) }
	if w.chance(0.5) {
		load()
		return
	}
	l.d.o.after(w.between(time.Millisecond, one(w.rand, 100*time.Millisecond, time.Second, 8*time.Second)), "has fetched for long", l.d.during(load))
}

// loadAll loads values for a loop, and returns how it takes them.
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

// word is what a module reads: the word, or why it cannot be read.
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
	return "", errors.New("it was not set")
}

// condition is how the condition of a module comes out, evaluated a second time.
func (t *truth) condition(w *world, m *pipeline.Module) (bool, error) {
	x, reads := t.readings[t.declared(m)]
	switch {
	case m.If == wrong:
		return false, errors.New("it cannot be evaluated")
	case m.If == "false":
		return false, nil
	case !reads || x.want == "":
		return true, nil
	}
	word, err := t.word(w, x)
	return word == x.want, err
}

// declared is the name by which the pipeline knows a module.
func (t *truth) declared(m *pipeline.Module) string {
	if m.Family != "" {
		return m.Family
	}
	return m.Name
}
