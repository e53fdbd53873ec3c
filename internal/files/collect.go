package files

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/modpipe/modpipe/internal/mask"
	"github.com/modpipe/modpipe/internal/tree"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// Collect takes the artifacts that an attempt leaves, and stores them. Which ones
// depends on how the attempt has ended. It stores as many as it can, and
// returns all errors together. An artifact with a secret of m in it is a *mask.FoundError.
func (d *Directory) Collect(ctx context.Context, ended report.AttemptStatus, m *mask.Masker) ([]jobs.Artifact, error) {
	var found []jobs.Artifact
	var errs []error
	for _, p := range d.files.Produce {
		if !wanted(p.When, ended) {
			continue
		}
		a, some, err := d.collect(ctx, p, m)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("artifact %s: %w", p.Name, err))
		case some:
			found = append(found, a)
		}
	}
	return found, errors.Join(errs...)
}

// wanted reports whether an artifact is stored after an attempt that ended so.
func wanted(w pipeline.When, ended report.AttemptStatus) bool {
	failed := ended == report.AttemptFailed || ended == report.AttemptTimedOut
	succeeded := ended == report.AttemptSucceeded
	switch w {
	case pipeline.OnFailure:
		return failed
	case pipeline.Always:
		return failed || succeeded
	case pipeline.OnSuccess:
	}
	return succeeded
}

// collect takes one artifact, without what belongs to git. It reports false when
// nothing matched an artifact that is optional.
func (d *Directory) collect(ctx context.Context, p pipeline.Produce, m *mask.Masker) (jobs.Artifact, bool, error) {
	t, err := d.take(ctx, d.root, tree.TakeOptions{Patterns: p.Paths, SkipGit: true, Index: d.index}, m)
	if err != nil {
		return jobs.Artifact{}, false, err
	}
	if len(t.Files) == 0 {
		if p.Optional {
			return jobs.Artifact{}, false, nil
		}
		return jobs.Artifact{}, false, fmt.Errorf("nothing matches %s (`optional: true` allows this)", strings.Join(p.Paths, ", "))
	}
	ref, err := d.push(ctx, t)
	if err != nil {
		return jobs.Artifact{}, false, err
	}
	return jobs.Artifact{Name: p.Name, Tree: ref}, true, nil
}
