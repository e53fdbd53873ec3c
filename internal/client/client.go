// Package client asks about runs and workers, and submits, follows, cancels and
// repeats runs, for any program that reaches NATS.
//
// A Client reads logs and buckets. It writes only the records that any program
// may write: a specification, a cancellation, and the end of a run that no
// orchestrator can handle. It decides nothing about a run. The command line
// uses it, and so will other interfaces.
//
// A Client keeps no state: it reads every answer from NATS. A wait ends with
// its context. While NATS cannot be reached, a call waits until its context
// ends. Follow continues after a reconnect without a gap or a repetition.
package client

import (
	"errors"
	"fmt"

	"github.com/modpipe/modpipe/broker"
)

// Errors that callers branch on.
var (
	ErrExists    = errors.New("a run with this id exists already")
	ErrEnded     = errors.New("the run has ended")
	ErrDecided   = errors.New("a live orchestrator decides for the run")
	ErrUndecided = errors.New("no orchestrator decides for the run")
	ErrRunning   = errors.New("the run has not ended")
	ErrExpired   = errors.New("the files of the run are not stored any more")
	ErrTimeout   = errors.New("the run has not ended in time")
	ErrNothing   = errors.New("everything has succeeded")
	ErrOther     = errors.New("it is a different run")
)

// Client reads from and writes to one NATS. Its methods may be called from
// several goroutines.
type Client struct{ conn *broker.Conn }

// New returns a client on a connection. The caller closes the connection.
func New(c *broker.Conn) *Client { return &Client{c} }

// RefusedError reports that a run cannot begin because of what it asks for: files
// of its workspace that cannot be taken, or artifacts that no run has left.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return e.Err.Error() }

func (e *RefusedError) Unwrap() error { return e.Err }

func refusedf(format string, args ...any) error { return &RefusedError{fmt.Errorf(format, args...)} }
