package orchestrator

import (
	"context"
	"errors"
	"fmt"

	"github.com/modpipe/modpipe/internal/signing"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
)

// errUnchanged reports that the unreadable log of a run has no new entry.
var errUnchanged = errors.New("its log has not changed")

// tryLead decides for a run. It returns errUnchanged when the log still ends at
// the sequence unread, where it could not be read before; 0 = it was readable or
// was not read yet. It reads the newest sequence before it reads the log, so
// that an entry which is written in between counts as a change.
func (s *server) tryLead(ctx context.Context, run jobs.RunID, unread uint64) (newest uint64, lease *kv.RunLease, err error) {
	newest, err = s.broker.Runs.Newest(ctx, run)
	switch {
	case err != nil:
		return 0, nil, fmt.Errorf("read the newest sequence of run %s: %w", run, err)
	case newest == unread:
		return newest, nil, errUnchanged
	}
	if err := s.lacksKey(ctx, run); err != nil {
		return newest, nil, err
	}
	lease, err = s.lead(ctx, run)
	return newest, lease, err
}

// lacksKey returns a signing.MissingError when this orchestrator does not have the signing key of a
// run that has not ended. It leaves such a run, with its lease, to others. To clean up
// after a run that has ended needs no key.
func (s *server) lacksKey(ctx context.Context, run jobs.RunID) error {
	err := CheckKey(ctx, s.broker, run)
	if !errors.As(err, new(*signing.MissingError)) {
		return nil // another error shows when the run is taken
	}
	if ended, eerr := s.broker.Runs.Ended(ctx, run); ended || eerr != nil {
		return eerr
	}
	return err
}
