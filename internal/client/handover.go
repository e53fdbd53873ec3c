package client

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/runlog"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
)

// HandOver is the state of a submitted run before an orchestrator decides for
// it.
type HandOver int

// The states of a submitted run.
const (
	Taken    HandOver = iota // an orchestrator decides for it, or the run has ended
	Queued                   // an orchestrator serves and has its maximum of runs: the run waits its turn
	Unserved                 // no orchestrator serves
	Unknown                  // NATS denies access to the log or to the leases
)

// handOverInterval is the time between two checks of the orchestrators that
// serve.
const handOverInterval = time.Second

// errKnown ends a wait whose result is known.
var errKnown = errors.New("known")

// AwaitTaken waits until an orchestrator takes a submitted run, or until it is
// clear that none takes it soon. It returns the cause of ctx when ctx ends
// first: then orchestrators serve, they have room, and none has taken the run.
func (c *Client) AwaitTaken(ctx context.Context, run jobs.RunID) (HandOver, error) {
	result := Taken
	entries := make(chan jobs.Entry, runlog.Buffered)
	g, watching := errgroup.WithContext(ctx)
	g.Go(func() error { return runlog.Follow(watching, c.conn.Runs, run, entries) })
	g.Go(func() error { return runlog.WatchGone(watching, c.conn.Runs, run) })
	g.Go(func() (err error) {
		result, err = c.awaitTaken(watching, entries)
		return err
	})
	err := g.Wait()
	switch {
	case errors.Is(err, errKnown):
		return result, nil
	case errors.Is(err, broker.ErrDenied):
		return Unknown, nil
	case err == nil:
		err = context.Cause(ctx)
	}
	return Taken, err
}

func (c *Client) awaitTaken(ctx context.Context, entries <-chan jobs.Entry) (HandOver, error) {
	tick := time.NewTicker(handOverInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return Taken, context.Cause(ctx)
		case e := <-entries:
			if e.Record.Takeover != nil || e.Record.End != nil {
				return Taken, errKnown
			}
		case <-tick.C:
			holders, err := kv.Holders(ctx, c.conn.Conn)
			switch {
			case err != nil:
				return Taken, err
			case !serving(holders):
				return Unserved, errKnown
			case noRoom(holders):
				return Queued, errKnown
			}
		}
	}
}

// noRoom reports whether an orchestrator that serves has its maximum of runs.
func noRoom(holders map[string]jobs.RunLease) bool {
	for key, lease := range holders {
		if kv.IsPresence(key) && lease.Full {
			return true
		}
	}
	return false
}
