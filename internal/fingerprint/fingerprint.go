package fingerprint

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strconv"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// version is the version of this computation. Another one makes every entry of
// the cache a miss.
const version = "1"

// maxItems bounds the values of a part whose digests are kept. A part with more
// has its own digest only.
const maxItems = 2000

// Input is what a fingerprint covers.
type Input struct {
	Module *pipeline.Module
	Job    *jobs.Job // with every expression put in
	Key    []string  // of the module's cache, with every expression put in
	Inputs string    // root of the tree of the files that the module's input globs match; "" = no globs
}

// Print is a fingerprint.
type Print struct {
	Sum   string // hex
	Parts []jobs.Part
}

// Of computes the fingerprint of a module's job.
func Of(in Input) Print {
	var b builder
	b.value("format", version)
	b.command(in)
	b.secrets(in.Module.Secrets)
	b.list("outputs", in.Module.Outputs)
	b.artifacts(in.Module)
	b.requirements(&in.Module.Requires)
	b.items("matrix", coordinates(in.Job.Matrix))
	b.inputs(in)
	b.consumed(in.Job.Files)
	b.needs(in.Job.Needs)
	b.list("key", in.Key)
	b.program(in)
	return b.print()
}

// builder collects parts.
type builder struct{ parts []jobs.Part }

func (b *builder) print() Print {
	h := sha256.New()
	for _, p := range b.parts {
		text(h, p.Name)
		h.Write(p.Digest)
	}
	return Print{Sum: hex.EncodeToString(h.Sum(nil)), Parts: b.parts}
}

// text writes a text with its length before it, so that no two sequences of texts
// have the same bytes.
func text(h hash.Hash, s string) {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(s)))
	h.Write(n[:])
	h.Write([]byte(s))
}

func digest(texts ...string) []byte {
	h := sha256.New()
	for _, s := range texts {
		text(h, s)
	}
	return h.Sum(nil)
}

// value adds a part of one value.
func (b *builder) value(name, v string) {
	b.parts = append(b.parts, jobs.Part{Name: name, Digest: digest(v)})
}

// list adds a part whose values have no names, in their order.
func (b *builder) list(name string, values []string) {
	items := make([]jobs.PartItem, len(values))
	for i, v := range values {
		items[i] = jobs.PartItem{Name: strconv.Itoa(i + 1), Digest: digest(v)}
	}
	b.items(name, items)
}

// items adds a part of named values, in their order.
func (b *builder) items(name string, items []jobs.PartItem) {
	h := sha256.New()
	for _, x := range items {
		text(h, x.Name)
		h.Write(x.Digest)
	}
	p := jobs.Part{Name: name, Digest: h.Sum(nil)}
	if len(items) <= maxItems {
		p.Items = items
	}
	b.parts = append(b.parts, p)
}

// secrets adds which secrets the module has. Their values are not known here, and do
// not count.
func (b *builder) secrets(secrets []pipeline.Secret) {
	items := make([]jobs.PartItem, len(secrets))
	for i, s := range secrets {
		items[i] = jobs.PartItem{Name: s.Env, Digest: digest(s.String())}
	}
	b.items("secrets", byName(items))
}

func byName(items []jobs.PartItem) []jobs.PartItem {
	slices.SortFunc(items, func(a, b jobs.PartItem) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), slices.Compare(a.Digest, b.Digest))
	})
	return items
}

func (b *builder) command(in Input) {
	c := in.Job.Command
	if c == nil {
		c = &jobs.CommandJob{}
	}
	b.list("command", append([]string{c.Run}, c.Args...))
	b.value("shell", c.Shell)
	b.value("dir", c.Dir)
	b.value("stdin", c.Stdin)
	b.items("env", variables(c.Env))
	b.list("pass-env", slices.Compact(slices.Sorted(slices.Values(c.PassEnv))))
	var with []jobs.PartItem
	if f := in.Job.Func; f != nil {
		for k, v := range f.With {
			with = append(with, jobs.PartItem{Name: k, Digest: digest(v)})
		}
	}
	b.items("with", byName(with))
}

// variables are the effective ones: of two with one name the last.
func variables(env []pipeline.KeyValue) []jobs.PartItem {
	last := make(map[string]string, len(env))
	for _, kv := range env {
		last[kv.Key] = kv.Value
	}
	items := make([]jobs.PartItem, 0, len(last))
	for k, v := range last {
		items = append(items, jobs.PartItem{Name: k, Digest: digest(v)})
	}
	return byName(items)
}

// artifacts adds what the module declares to produce and to consume.
func (b *builder) artifacts(m *pipeline.Module) {
	items := make([]jobs.PartItem, 0, len(m.Produce))
	for _, p := range m.Produce {
		texts := append([]string{strconv.FormatBool(p.Optional), strconv.Itoa(int(p.When))}, p.Paths...)
		items = append(items, jobs.PartItem{Name: p.Name, Digest: digest(texts...)})
	}
	b.items("produce", byName(items))
	items = make([]jobs.PartItem, 0, len(m.Consume))
	for _, c := range m.Consume {
		texts := []string{c.From, c.To, strconv.FormatBool(c.Merge), strconv.FormatBool(c.Open), strconv.FormatBool(c.FromRun != nil)}
		texts = append(texts, c.Same...)
		if c.FromRun != nil {
			texts = append(texts, c.FromRun.Pipeline)
			for _, l := range c.FromRun.Labels {
				texts = append(texts, l.Key, l.Value)
			}
		}
		items = append(items, jobs.PartItem{Name: c.Name, Digest: digest(texts...)})
	}
	b.items("consume", byName(items))
}

func (b *builder) requirements(r *pipeline.Requirements) {
	b.value("os", r.OS)
	b.value("arch", r.Arch)
	tools := make([]jobs.PartItem, 0, len(r.Tools))
	for _, t := range r.Tools {
		tools = append(tools, jobs.PartItem{Name: t.Name, Digest: digest(t.Min)})
	}
	b.items("tools", byName(tools))
	b.list("tags", slices.Sorted(slices.Values(r.Tags)))
	labels := make([]jobs.PartItem, 0, len(r.Labels))
	for _, l := range r.Labels {
		labels = append(labels, jobs.PartItem{Name: l.Key, Digest: digest(l.Value)})
	}
	b.items("labels", byName(labels))
}

func coordinates(matrix []pipeline.Coordinate) []jobs.PartItem {
	items := make([]jobs.PartItem, len(matrix))
	for i, c := range matrix {
		items[i] = jobs.PartItem{Name: c.Axis, Digest: digest(c.Value)}
	}
	return byName(items)
}

// inputs adds the input globs and the tree of the files that they match. The
// item "files" is the root of the tree.
func (b *builder) inputs(in Input) {
	var globs []string
	if in.Module.Cache != nil {
		globs = in.Module.Cache.Inputs
	}
	root, err := hex.DecodeString(in.Inputs)
	if err != nil {
		root = digest(in.Inputs) // not a digest: still a value of its own
	}
	b.items("inputs", []jobs.PartItem{{Name: "globs", Digest: digest(globs...)}, {Name: "files", Digest: root}})
}

// consumed adds the trees of consumed artifacts, by the place to which they are
// restored.
func (b *builder) consumed(files *jobs.JobFiles) {
	var items []jobs.PartItem
	if files != nil {
		for _, r := range files.Restore {
			name := r.Name
			if r.To != "" {
				name = r.To + "/" + r.Name
			}
			items = append(items, jobs.PartItem{Name: name, Digest: digest(r.Tree.Root, r.Need)})
		}
	}
	b.items("artifacts", byName(items))
}

// needs adds what the module reads of its needs. A need that was cached has
// succeeded: its result is the same.
func (b *builder) needs(needs map[string]jobs.Need) {
	items := make([]jobs.PartItem, 0, len(needs))
	for _, name := range slices.Sorted(maps.Keys(needs)) {
		need := needs[name]
		texts := []string{status(need.Status), strconv.FormatBool(need.Family), valueDigest(need.Outputs)}
		for _, m := range need.Members {
			texts = append(texts, strconv.Itoa(len(m.Matrix)))
			for _, c := range m.Matrix {
				texts = append(texts, c.Axis, c.Value)
			}
			texts = append(texts, status(m.Status), valueDigest(m.Outputs))
		}
		items = append(items, jobs.PartItem{Name: name, Digest: digest(texts...)})
	}
	b.items("needs", items)
}

func status(s report.Status) string {
	if s == report.Cached {
		return string(report.Succeeded)
	}
	return string(s)
}

// valueDigest is the same for a value that is inline and one by reference.
func valueDigest(v jobs.Value) string {
	if v.ByRef() {
		return strconv.Itoa(int(v.Kind)) + v.Ref.SHA256
	}
	if v.Inline == nil {
		return ""
	}
	sum := sha256.Sum256(v.Stored())
	return strconv.Itoa(int(v.Kind)) + hex.EncodeToString(sum[:])
}

// program adds the program and the function of a Go module. The digest of the
// graph is left out: the parts cover what of it concerns the module.
func (b *builder) program(in Input) {
	var function, build string
	var params []jobs.PartItem
	if f := in.Job.Func; f != nil {
		function = f.Name
		if p := in.Module.Requires.Program; p != nil {
			build = p.Build
		}
		for name, v := range f.Params {
			params = append(params, jobs.PartItem{Name: name, Digest: digest(parameter(v))})
		}
	}
	if f := in.Module.Func; f != nil && f.Version != "" {
		build = "version " + f.Version
	}
	b.items("program", []jobs.PartItem{{Name: "build", Digest: digest(build)}, {Name: "function", Digest: digest(function)}})
	b.items("params", byName(params))
}

// parameter is a bound parameter as text, with its type.
func parameter(v any) string {
	switch v := v.(type) {
	case string:
		return "string " + v
	case bool:
		return "bool " + strconv.FormatBool(v)
	case int64:
		return "number " + strconv.FormatInt(v, 10)
	case float64:
		return "number " + strconv.FormatFloat(v, 'g', -1, 64)
	}
	return fmt.Sprintf("%T %v", v, v)
}
