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

// HandOver is what became of a run that was submitted.
type HandOver int

// What may become of it.
const (
	Taken    HandOver = iota // an orchestrator decides for it, or has
	Queued                   // an orchestrator that serves decides for as many runs as it may: the run waits its turn
	Unserved                 // no orchestrator serves
	Unknown                  // NATS does not let us see it
)

// handOverLook is how often the orchestrators that serve are looked at.
const handOverLook = time.Second

// errKnown ends a wait that knows what became of the run.
var errKnown = errors.New("known")

// AwaitTaken waits until it is known what became of a run that was submitted.
// When ctx ends first, orchestrators serve and none has taken the run: then it
// returns ctx's cause.
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
	look := time.NewTicker(handOverLook)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return Taken, context.Cause(ctx)
		case e := <-entries:
			if e.Record.Takeover != nil || e.Record.End != nil {
				return Taken, errKnown
			}
		case <-look.C:
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

// noRoom reports whether one that serves has no room for another run.
func noRoom(holders map[string]jobs.Lease) bool {
	for key, lease := range holders {
		if kv.IsPresence(key) && lease.Full {
			return true
		}
	}
	return false
}
