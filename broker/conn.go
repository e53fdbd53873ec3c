package broker

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/topology"
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
	ErrReconnected = jetstream.ErrReconnected // earlier positions do not count: read again
)

// AckWait is how long a delivered job may stay without Ack or InProgress.
const AckWait = topology.AckWait

// Config configures a connection.
type Config struct {
	URL            string        // as nats.Connect takes it, several separated by commas
	Name           string        // of the client, in the server's monitoring
	Options        []nats.Option // credentials, TLS, in-process server
	Inbox          string        // prefix of the inboxes, to which the role may subscribe; "_INBOX" when empty
	ConnectTimeout time.Duration // 0 = retry until ctx ends
	Replicas       int           // of created streams; 1 when 0
	Memory         bool          // created streams are in memory: for tests
	Logger         *slog.Logger  // slog.Default() when nil
}

func (cfg *Config) jetstream() jetstream.Config {
	return jetstream.Config{
		URL: cfg.URL, Name: cfg.Name, Options: cfg.Options, Inbox: cfg.Inbox, ConnectTimeout: cfg.ConnectTimeout,
		Replicas: cfg.Replicas, Memory: cfg.Memory, Logger: cfg.Logger,
		Streams: topology.Streams(), Probe: topology.RunsStream, Advice: topology.Advice,
	}
}

// Conn is a connection with modpipe's streams on it. Safe for concurrent use.
type Conn struct {
	*jetstream.Conn

	Runs    *Runs
	Queue   *Queue
	Logs    *Logs
	Control *Control
	Values  *Values
}

// Connect connects and creates the missing streams.
func Connect(ctx context.Context, cfg Config) (*Conn, error) {
	c, err := jetstream.Connect(ctx, cfg.jetstream())
	if err != nil {
		return nil, err
	}
	return newConn(c), nil
}

// Attach connects without creating anything, now or later. It is for programs that
// only read.
func Attach(ctx context.Context, cfg Config) (*Conn, error) {
	c, err := jetstream.Attach(ctx, cfg.jetstream())
	if err != nil {
		return nil, err
	}
	return newConn(c), nil
}

func newConn(c *jetstream.Conn) *Conn {
	b := bodies{c, content.New(c, topology.BlobsBucket, topology.BlobsAge)}
	return &Conn{
		Conn: c, Runs: &Runs{c: c, bodies: b}, Queue: &Queue{c: c, bodies: b}, Logs: &Logs{c: c, bodies: b},
		Control: &Control{c}, Values: &Values{b.store},
	}
}
