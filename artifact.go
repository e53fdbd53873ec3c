package modpipe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/modpipe/modpipe/internal/call"
	"github.com/modpipe/modpipe/pipeline"
)

// Artifact is a set of files that a module has left under a name. Files makes
// the Value of one; only the function that takes it can open it, while its
// attempt runs.
type Artifact struct {
	module, name string
	files        call.Files
}

// Module is the module that has produced the artifact, or its family.
func (a Artifact) Module() string { return a.module }

// Name is the artifact's name.
func (a Artifact) Name() string { return a.name }

// Open returns the files, by the paths below the workspace that they had. A
// file is fetched when it is opened. The files of a family's members are below
// one directory for each member. Reading fails when ctx ends. The error is
// fs.ErrNotExist when the module has not left the artifact, which is possible
// for an optional need and for an artifact that is optional or of a failure.
func (a Artifact) Open(ctx context.Context) (fs.FS, error) {
	if a.files == nil {
		return nil, a.wrap("open", errNoFiles)
	}
	files, err := a.files.Open(ctx, a.module, a.name)
	if err != nil {
		return nil, a.wrap("open", err)
	}
	return files, nil
}

// Unpack writes the files below dir, which it creates. They are copies: writing
// to them does not change the artifact. The errors are those of Open, and those
// of writing; what was written before an error stays.
func (a Artifact) Unpack(ctx context.Context, dir string) error {
	if a.files == nil {
		return a.wrap("unpack", errNoFiles)
	}
	if err := a.files.Unpack(ctx, a.module, a.name, dir); err != nil {
		return a.wrap("unpack", err)
	}
	return nil
}

var errNoFiles = errors.New("artifacts can be opened by the function that takes them only, while its attempt runs")

func (a Artifact) wrap(what string, err error) error {
	return fmt.Errorf("%s artifact %s of %s: %w", what, a.name, a.module, err)
}

// Files is the artifact that a module produces under a name. It waits for the
// module as a read of its result does: of Optional(v), the artifact may be
// missing. A function that takes it opens it, and Consume restores it.
//
//	bin := modpipe.Files(build, "bin")
//	modpipe.Add(p, "publish", modpipe.Call1(publish, bin))
func Files(v Need, name string) Value[Artifact] {
	at := caller()
	up := &upstream{at: at}
	if v == nil || v.need() == nil {
		up.edges = []edge{{at: at}} // found when it is read
		return Value[Artifact]{up, noArtifact}
	}
	from := v.need()
	up.b = from.b
	modules := from.modules()
	if len(modules) != 1 {
		if up.b != nil {
			up.b.fault(at, "call Files for each of them", "Files is for the artifact of one module, and this value is of %d", len(modules))
		}
		return Value[Artifact]{up, noArtifact}
	}
	e := modules[0]
	e.at, e.reads, e.artifact = at, true, name
	up.edges = []edge{e}
	return Value[Artifact]{up, func(in *inputs) (Artifact, error) {
		if !e.optional && !in.has(e.name) {
			return Artifact{}, fmt.Errorf("read artifact %s of %s: it has none: it is %s", name, e.name, in.req.Needs[e.name].Status)
		}
		return Artifact{module: e.name, name: name, files: in.req.Files}, nil
	}}
}

func noArtifact(*inputs) (Artifact, error) { return Artifact{}, errNoFiles }

// modules are the edges of a source, one for each module.
func (s *upstream) modules() []edge {
	var edges []edge
	for _, e := range s.edges {
		if !slices.ContainsFunc(edges, func(have edge) bool { return have.name == e.name }) {
			edges = append(edges, e)
		}
	}
	return edges
}

// Produce leaves files for other modules, as an artifact with a name: those
// below the workspace that the globs match once an attempt has succeeded. **
// stands for any directories, and a glob that begins with ! excludes. An attempt
// that leaves nothing fails. Produces says more.
func Produce(name string, globs ...string) Option {
	return Produces{Name: name, Globs: globs}
}

// Produces is Produce with terms. Several add up.
type Produces struct {
	Name      string   // unique in the module: letters, digits, _ - and .
	Globs     []string // below the workspace, with / between directories
	Optional  bool     // nothing may match
	OnFailure bool     // only after an attempt that failed or timed out: logs, core files
	Always    bool     // after a failure and after a success
}

func (p Produces) apply(m *module) {
	when := pipeline.OnSuccess
	switch {
	case p.OnFailure && p.Always:
		m.b.fault(m.at, "set one of them", "%s: artifact %s has OnFailure and Always", m.name, p.Name)
	case p.OnFailure:
		when = pipeline.OnFailure
	case p.Always:
		when = pipeline.Always
	}
	m.node.Produce = append(m.node.Produce, pipeline.Produce{Name: p.Name, Paths: slices.Clone(p.Globs), Optional: p.Optional, When: when})
}

// Consume restores an artifact before the module starts, for a Command or for a
// function that finds its files in Attempt.Dir. A function that takes the
// Artifact as a value needs no Consume.
type Consume struct {
	Artifact Value[Artifact] // from Files
	To       string          // directory below the workspace; "" = the files return to where they were
	Merge    bool            // of a family: the files of all members in one directory, instead of one for each
}

// consumed is an artifact that Consume restores.
type consumed struct {
	edge
	to    string
	merge bool
}

func (c Consume) apply(m *module) {
	up := c.Artifact.up
	switch {
	case up == nil:
		m.b.fault(m.at, "set Artifact to what Files returns", "%s: Consume has no artifact", m.name)
	case len(up.edges) != 1 || up.edges[0].artifact == "":
		m.b.fault(up.at, "", "%s: Consume takes what Files has returned", m.name)
	default:
		m.take(up, up.at, false)
		m.consumed = append(m.consumed, consumed{up.edges[0], c.To, c.Merge})
	}
}

// files adds what the module consumes to its node.
func (m *module) files(n *pipeline.Module) {
	n.Produce, n.CacheDirs, n.Late = slices.Clone(n.Produce), slices.Clone(n.CacheDirs), slices.Clone(n.Late)
	for i := range n.Produce {
		n.Produce[i].Paths = slices.Clone(n.Produce[i].Paths)
	}
	if n.Cache != nil {
		c := *n.Cache
		c.Inputs = slices.Clone(c.Inputs)
		n.Cache = &c
	}
	for _, c := range m.consumed {
		n.Consume = append(n.Consume, pipeline.Consume{Name: c.artifact, From: c.name, To: c.to, Merge: c.merge})
	}
	type opened struct{ module, artifact string }
	seen := map[opened]bool{}
	for _, t := range m.taken {
		for _, e := range t.up.edges {
			one := opened{e.name, e.artifact}
			if e.artifact == "" || e.name == "" || !t.reads || seen[one] {
				continue
			}
			seen[one] = true
			n.Consume = append(n.Consume, pipeline.Consume{Name: e.artifact, From: e.name, Open: true})
		}
	}
}
