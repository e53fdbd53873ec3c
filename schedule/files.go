package schedule

import (
	"cmp"
	"fmt"
	"path"
	"slices"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// DefaultNamespace is the part of the store that a run uses unless its
// specification names another one.
const DefaultNamespace = "main"

// files says which files an attempt of n finds and leaves; nil when the run took
// no workspace and n has no artifacts.
func (r *Run) files(n *node, produce []pipeline.Produce, consume []pipeline.Consume) (*jobs.JobFiles, error) {
	restore, err := r.restores(n, consume)
	if err != nil {
		return nil, err
	}
	snapshot := r.spec.Workspace
	if snapshot == nil && len(restore) == 0 && len(produce) == 0 {
		return nil, nil
	}
	f := &jobs.JobFiles{Restore: restore, Produce: produce, Namespace: cmp.Or(r.spec.Cache.Namespace, DefaultNamespace)}
	if snapshot != nil {
		f.Workspace, f.Git = &snapshot.Tree, snapshot.Git
	}
	if c := n.module.Cache; c != nil {
		f.Narrow, f.Inputs = true, c.Inputs
	}
	return f, nil
}

// restores lists the artifacts that an attempt of n finds, in the order in which
// the module consumes them.
func (r *Run) restores(n *node, consume []pipeline.Consume) ([]jobs.Restore, error) {
	var all []jobs.Restore
	for _, c := range consume {
		found, err := r.restoresOf(n, c)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// restoresOf lists the artifacts that one entry of consume selects. It fails
// when it selects none although every producer has run.
func (r *Run) restoresOf(n *node, c pipeline.Consume) ([]jobs.Restore, error) {
	if c.FromRun != nil {
		return r.earlier(c)
	}
	var found []jobs.Restore
	missing, may := "", false
	for _, p := range r.producers(n, c) {
		some := false
		for _, a := range p.artifacts {
			if ok, err := path.Match(c.Name, a.Name); err != nil || !ok {
				continue
			}
			some = true
			found = append(found, jobs.Restore{Artifact: a, Module: p.module.Name, To: restoredTo(c, p), Merge: mergedAs(c)})
		}
		if !some && mayLack(p, c) {
			may = true
		} else if !some {
			missing = p.module.Name
		}
	}
	if len(found) == 0 && missing != "" && !may {
		return nil, fmt.Errorf("consume: %s has left no artifact %s", missing, c.Name)
	}
	return found, nil
}

// producers lists the nodes that an entry of consume takes artifacts from.
func (r *Run) producers(n *node, c pipeline.Consume) []*node {
	var all []*node
	for _, need := range n.module.Needs {
		if c.From != "" && need.Module != c.From {
			continue
		}
		for _, i := range pipeline.Resolve(n.module, need, r.modules, r.byName, r.families) {
			if p := r.nodes[i]; !p.expanded && produces(p.module, c.Name) && sameOn(c.Same, n.module, p.module) {
				all = append(all, p)
			}
		}
	}
	return all
}

// sameOn reports whether two members have the same values on axes.
func sameOn(axes []string, a, b *pipeline.Module) bool {
	return !slices.ContainsFunc(axes, func(axis string) bool { return valueOn(axis, a) != valueOn(axis, b) })
}

func valueOn(axis string, m *pipeline.Module) string {
	for _, c := range m.Matrix {
		if c.Axis == axis {
			return c.Value
		}
	}
	return ""
}

func produces(m *pipeline.Module, pattern string) bool {
	return slices.ContainsFunc(m.Produce, func(p pipeline.Produce) bool {
		ok, err := path.Match(pattern, p.Name)
		return err == nil && ok
	})
}

// mayLack reports whether a producer may have left no artifact of this name
// without a fault: it did not run, or not in the way that stores the artifact.
func mayLack(p *node, c pipeline.Consume) bool {
	if p.status != report.Succeeded && p.status != report.Cached {
		return true
	}
	return slices.ContainsFunc(p.module.Produce, func(x pipeline.Produce) bool {
		ok, err := path.Match(c.Name, x.Name)
		return err == nil && ok && (x.Optional || x.When == pipeline.OnFailure)
	})
}

// restoredTo is the directory below which an artifact of p is restored: the files
// of a family's members each have one, unless they are merged.
func restoredTo(c pipeline.Consume, p *node) string {
	if p.module.Family == "" || c.Merge {
		return c.To
	}
	return path.Join(c.To, p.module.Token)
}

// mergedAs names what may share paths.
func mergedAs(c pipeline.Consume) string {
	if !c.Merge {
		return ""
	}
	return c.Name + "→" + c.To
}

// earlier lists the artifacts of an earlier run that the specification names.
func (r *Run) earlier(c pipeline.Consume) ([]jobs.Restore, error) {
	for _, e := range r.spec.Earlier {
		if e.Pipeline != c.FromRun.Pipeline || !slices.Equal(e.Labels, c.FromRun.Labels) || e.Name != c.Name {
			continue
		}
		var found []jobs.Restore
		for _, x := range e.Artifacts {
			x.To, x.Merge = c.To, mergedAs(c)
			found = append(found, x)
		}
		return found, nil
	}
	return nil, fmt.Errorf("consume: the run does not say which earlier run of %s it takes %s from", c.FromRun.Pipeline, c.Name)
}
