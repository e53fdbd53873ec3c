package cli

import (
	"context"
	"sync"

	"github.com/modpipe/modpipe/internal/access"
	"github.com/modpipe/modpipe/internal/snapshot"
	"github.com/modpipe/modpipe/jobs"
)

// createdFiles compares the workspace before and after a run in place.
type createdFiles struct {
	workspace string
	listing   sync.WaitGroup
	before    []string // set when listing is over; nil = nothing is compared
	declared  snapshot.Declared
}

// watchCreated lists the files of the workspace beside the start of a run that a
// worker here executes in place.
func (r *runner) watchCreated(ctx context.Context, s *access.Session) *createdFiles {
	c := &createdFiles{workspace: r.workspace}
	if s.Server != nil {
		c.listing.Go(func() { c.before = snapshot.Untracked(ctx, c.workspace) })
	}
	return c
}

// begin waits for the list. spec is the run, when this process submits it.
func (c *createdFiles) begin(spec *jobs.Spec, store string) {
	c.listing.Wait()
	if spec == nil || spec.Isolated {
		c.before = nil
		return
	}
	c.declared = snapshot.DeclaredBy(spec.Pipeline, c.workspace, store)
}

// end returns the warning about what modules created and no artifact declares.
func (c *createdFiles) end(ctx context.Context) string {
	if c.before == nil {
		return ""
	}
	return c.declared.Created(c.before, snapshot.Untracked(ctx, c.workspace))
}
