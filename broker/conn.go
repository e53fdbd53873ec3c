package broker

import (
	"context"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/signing"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/jobs"
)

// Errors that callers branch on.
var (
	ErrConflict    = jetstream.ErrConflict    // a compare-and-set was refused: read the cell
	ErrNotFound    = jetstream.ErrNotFound    //
	ErrUnreachable = jetstream.ErrUnreachable //
	ErrDenied      = jetstream.ErrDenied      // the text names the subject
	ErrRefused     = jetstream.ErrRefused     // the credentials, before the first connection
	ErrInsecure    = jetstream.ErrInsecure    // either side does not trust the other, or does not speak TLS
	ErrFull        = jetstream.ErrFull        // the stream is at its limit, or the account's storage is
	ErrTooLarge    = jetstream.ErrTooLarge    //
	ErrForeign     = jetstream.ErrForeign     // a stream is not the one that modpipe makes
	ErrReconnected = jetstream.ErrReconnected // earlier positions do not count: read again
)

// Config configures a connection. Connect and Attach set its Streams, Probe and
// Advice.
type Config = jetstream.Config

// ours completes a configuration with modpipe's streams.
func ours(cfg Config) Config {
	cfg.Streams, cfg.Probe, cfg.Advice = streams.Settings(), streams.Runs, streams.Advice
	return cfg
}

// Conn is a connection with modpipe's streams on it. Safe for concurrent use.
type Conn struct {
	*jetstream.Conn

	Runs    *Runs
	Queue   *Queue
	Logs    *Logs
	Control *Control
	Values  *Values
	// Files is the store of trees of files, in the namespace of runs that name none.
	Files content.Store

	keys *signing.Keyring // of this program; nil = none
}

// Connect connects and creates the missing streams.
func Connect(ctx context.Context, cfg Config) (*Conn, error) {
	c, err := jetstream.Connect(ctx, ours(cfg))
	if err != nil {
		return nil, err
	}
	return newConn(c), nil
}

// Attach connects without creating anything, now or later. It is for programs that
// only read.
func Attach(ctx context.Context, cfg Config) (*Conn, error) {
	c, err := jetstream.Attach(ctx, ours(cfg))
	if err != nil {
		return nil, err
	}
	return newConn(c), nil
}

func newConn(c *jetstream.Conn) *Conn {
	b := bodies{c, content.New(c, streams.BlobsBucket, jobs.ValuesNamespace, streams.BlobsAge)}
	return &Conn{
		Conn: c, Runs: &Runs{c: c, bodies: b}, Queue: &Queue{c: c, bodies: b}, Logs: &Logs{c: c, bodies: b},
		Control: &Control{c: c}, Values: &Values{b.store},
		Files: content.New(c, streams.BlobsBucket, jobs.DefaultNamespace, streams.BlobsAge),
	}
}
