package schedule

import (
	"fmt"
	"path"
	"slices"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

// files says which files an attempt of n finds and leaves; nil when the run took
// no workspace, and n has no artifacts and no cache directories.
func (r *Run) files(n *node, of pipeline.Files) (*jobs.JobFiles, error) {
	restore, err := r.restores(n, of.Consume)
	if err != nil {
		return nil, err
	}
	snapshot := r.spec.Workspace
	if snapshot == nil && len(restore) == 0 && len(of.Produce) == 0 && len(of.CacheDirs) == 0 {
		return nil, nil
	}
	f := &jobs.JobFiles{
		Restore: restore, Produce: of.Produce, CacheDirs: r.cacheDirs(of.CacheDirs),
		Namespace: r.spec.Cache.Writes(), Isolated: r.spec.Isolated, SecretsInArtifacts: n.module.Policy.SecretsInArtifacts,
	}
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
// when a module has not left what it had to.
func (r *Run) restoresOf(n *node, c pipeline.Consume) ([]jobs.Restore, error) {
	if c.FromRun != nil {
		return r.earlier(c)
	}
	var found []jobs.Restore
	for _, need := range n.module.Sources(c) {
		for _, i := range pipeline.Resolve(n.module, need, r.modules, r.byName, r.families) {
			p := r.nodes[i]
			if p.expanded {
				continue
			}
			if lacks := lacking(n, need, c, p); lacks != "" {
				return nil, fmt.Errorf("consume: %s ended %s and has left no artifact %s", p.module.Name, p.status, lacks)
			}
			for _, a := range p.artifacts {
				if c.Takes(a.Name) {
					found = append(found, restoreOf(c, need, p.module, a))
				}
			}
		}
	}
	return found, nil
}

// lacking names the artifact without which n fails and which p has not left; ""
// = none is missing.
func lacking(n *node, need pipeline.Need, c pipeline.Consume, p *node) string {
	for _, declared := range p.module.KnownArtifacts() {
		left := slices.ContainsFunc(p.artifacts, func(a jobs.Artifact) bool { return a.Name == declared.Name })
		if c.Takes(declared.Name) && !left && !n.module.MayLack(need, declared) {
			return declared.Name
		}
	}
	return ""
}

// restoreOf is an artifact that a module consumes of one producer.
func restoreOf(c pipeline.Consume, need pipeline.Need, producer *pipeline.Module, a jobs.Artifact) jobs.Restore {
	r := jobs.Restore{Artifact: a, Module: producer.Name, To: restoredTo(c, need, producer, a.Name)}
	if c.Open {
		r.Open, r.Need = true, need.Module
	}
	return r
}

// restoredTo is the directory below which an artifact is restored. Each member of
// a needed family has one, and each name that a pattern selects, unless they are
// merged.
func restoredTo(c pipeline.Consume, need pipeline.Need, producer *pipeline.Module, name string) string {
	to := c.To
	if c.Merge {
		return to
	}
	if producer.Family != "" && need.Module != producer.Name {
		to = path.Join(to, producer.Token)
	}
	if c.Name != name { // it is a pattern
		to = path.Join(to, name)
	}
	return to
}

// earlier lists the artifacts of an earlier run that the specification names.
func (r *Run) earlier(c pipeline.Consume) ([]jobs.Restore, error) {
	for _, e := range r.spec.Earlier {
		if e.Pipeline != c.FromRun.Pipeline || !slices.Equal(e.Labels, c.FromRun.Labels) || e.Name != c.Name {
			continue
		}
		var found []jobs.Restore
		for _, x := range e.Artifacts {
			member := x.To
			if x.To = c.To; !c.Merge {
				x.To = path.Join(c.To, member)
				if c.Name != x.Name {
					x.To = path.Join(x.To, x.Name)
				}
			}
			found = append(found, x)
		}
		return found, nil
	}
	return nil, fmt.Errorf("consume: the run does not say which earlier run of %s it takes %s from", c.FromRun.Pipeline, c.Name)
}
