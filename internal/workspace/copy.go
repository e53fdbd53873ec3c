package workspace

import (
	"context"

	"github.com/modpipe/modpipe/jobs"
)

// Copy is the workspace of a worker, whose files may be other ones than those of a
// run. Package checkout implements it.
type Copy interface {
	// Enter lets an attempt begin in the workspace. leave ends that, and returns a
	// sentence about how the files differ from those of the run, or "". The caller
	// calls it when no process of the attempt is left.
	Enter(ctx context.Context, of Visit) (leave func() (difference string), err error)
}

// Visit says which attempt wants to begin in the workspace of a worker.
type Visit struct {
	Run      jobs.RunID
	Commit   string // of the snapshot; "" = not known
	Snapshot jobs.Tree
}
