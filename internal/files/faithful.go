package files

import (
	"context"

	"github.com/modpipe/modpipe/internal/transfer"
	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/pipeline"
)

// declared are the inputs of a cached module whose attempt runs in the workspace of a
// worker.
type declared struct {
	inputs   *tree.Tree      // as the snapshot of the run has them; nil = they are not compared
	consumed map[string]bool // paths: the fingerprint covers them as artifacts
	produced []tree.Patterns // what an earlier attempt may have left
	faithful bool            // they were the same before the attempt
}

// declare compares the inputs in the workspace before the attempt. A failure means that
// the result of the attempt is not stored in the cache: nothing else depends on it.
func (d *Directory) declare(ctx context.Context, consumed []tree.Named) {
	f := d.files
	if d.own || !f.Narrow || f.Workspace == nil {
		return
	}
	all, err := transfer.Load(ctx, d.m.cfg.Remote, *f.Workspace)
	if err != nil {
		return
	}
	produced, err := patternsOf(f.Produce)
	if err != nil {
		return
	}
	if d.declared.inputs, err = all.Select(f.Inputs); err != nil {
		d.declared.inputs = nil
		return
	}
	d.declared.produced, d.declared.consumed = produced, map[string]bool{}
	for _, c := range consumed {
		for _, file := range c.Tree.Files {
			d.declared.consumed[file.Path] = true
		}
	}
	d.declared.faithful = d.asDeclared(ctx)
}

func patternsOf(produce []pipeline.Produce) ([]tree.Patterns, error) {
	all := make([]tree.Patterns, 0, len(produce))
	for _, p := range produce {
		patterns, err := tree.ParsePatterns(p.Paths)
		if err != nil {
			return nil, err
		}
		all = append(all, patterns)
	}
	return all, nil
}

// asDeclared reports whether the inputs in the workspace are those of the snapshot. What
// the module consumes and produces does not count.
func (d *Directory) asDeclared(ctx context.Context) bool {
	// A glob of no inputs matches nothing; Take would take everything.
	globs := append([]string{}, d.files.Inputs...)
	there, err := tree.Take(ctx, d.root, tree.TakeOptions{Patterns: globs, SkipGit: true, Index: d.index})
	if err != nil {
		return false
	}
	for _, c := range tree.Diff(d.declared.inputs, there) {
		added := c.Before == nil
		switch {
		case d.declared.consumed[c.Path]:
		case added && (c.After.Kind == tree.Directory || d.mayLeave(c.Path)):
		default:
			return false
		}
	}
	return true
}

// mayLeave reports whether the module produces a file with this path.
func (d *Directory) mayLeave(path string) bool {
	for _, p := range d.declared.produced {
		if p.Match(path) {
			return true
		}
	}
	return false
}
