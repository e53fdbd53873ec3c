package schedule

import (
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// reused is a result from elsewhere that ends a module without an attempt.
type reused struct {
	status    report.Status // how the module ends: succeeded, or cached
	outputs   jobs.Value
	artifacts []jobs.Artifact
	reason    string
}

// reusable returns the result that n takes instead of an attempt, and false when
// n has to run. The fold asks when n becomes ready, and its answer follows from
// the log alone, so every reader reuses the same results. Its source is the
// specification of a retry, which names the results that it keeps. A result of the
// cache comes as a record of the module's cell instead (fromCache).
func (r *Run) reusable(n *node) (reused, bool) {
	k, kept := r.kept[n.module.Name]
	if !kept {
		return reused{}, false
	}
	return reused{report.Succeeded, k.Outputs, k.Artifacts, "kept from run " + string(r.spec.RetryOf)}, true
}

// fromCache is the result that an outcome takes from the cache.
func fromCache(o *jobs.Outcome) reused {
	return reused{report.Cached, o.Outputs, o.Artifacts, "from " + o.Cached.Module + " of run " + string(o.Cached.Run)}
}

// reuse ends n with a reused result.
func (r *Run) reuse(n *node, x reused) {
	n.outputs, n.artifacts = x.outputs, x.artifacts
	r.finish(n, x.status, n.index, x.reason, "")
}
