package orchestrator

import (
	"context"
	"errors"
	"fmt"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
)

// errUnchanged leaves a run alone whose log is as unreadable as it was.
var errUnchanged = errors.New("its log has not changed")

// attempt decides for a run, unless its log is the one that could not be read
// before. It looks at how far the log goes before it reads it, so that what
// is written meanwhile is a change.
func (s *server) attempt(ctx context.Context, run jobs.RunID, unread uint64) (newest uint64, lease *kv.Lease, err error) {
	newest, err = s.broker.Runs.Newest(ctx, run)
	switch {
	case err != nil:
		return 0, nil, fmt.Errorf("look at the log of run %s: %w", run, err)
	case newest == unread:
		return newest, nil, errUnchanged
	}
	lease, err = s.lead(ctx, run)
	return newest, lease, err
}
