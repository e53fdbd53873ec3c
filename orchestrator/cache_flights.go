package orchestrator

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/modpipe/modpipe/internal/locks"
	"github.com/modpipe/modpipe/jobs"
)

// errNoFlights is the error of flights that NATS does not let this orchestrator write.
var errNoFlights = errors.New("flights of the cache cannot be written")

// patientFlights is a bucket of flights to which a write ends. NATS may deny it for
// ever, and a client that has used the permission before waits for it. After the first
// write that did not end in time the run takes no flights any more: what others produce
// at the same time is produced twice.
type patientFlights struct {
	locks.Bucket
	connected func() bool // without a connection a write waits: the next one begins again
	log       *slog.Logger

	mu   sync.Mutex
	gone bool // no write is tried any more
}

// Write implements locks.Bucket.
func (p *patientFlights) Write(ctx context.Context, lock jobs.Lock, entry jobs.LockEntry, revision uint64) (bool, error) {
	for {
		if p.left() {
			return false, errNoFlights
		}
		stored, late, err := p.try(ctx, lock, entry, revision)
		switch {
		case !late:
			return stored, err
		case p.connected():
			p.leave(lock, err)
		}
	}
}

// try tries to write for a while. late reports that it was not long enough.
func (p *patientFlights) try(ctx context.Context, lock jobs.Lock, entry jobs.LockEntry, revision uint64) (stored, late bool, err error) {
	trying, stop := context.WithTimeout(ctx, storePatience)
	defer stop()
	stored, err = p.Bucket.Write(trying, lock, entry, revision)
	return stored, err != nil && trying.Err() != nil && ctx.Err() == nil, err
}

func (p *patientFlights) left() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gone
}

func (p *patientFlights) leave(lock jobs.Lock, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone {
		p.log.Warn("a flight of the cache could not be written in time: modules of this run do not wait for the same results of other runs, and these do not wait for theirs", "flight", lock.Name, "patience", storePatience, "error", err)
	}
	p.gone = true
}
