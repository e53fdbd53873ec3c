package jetstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/modpipe/modpipe/internal/pause"
	"github.com/modpipe/modpipe/internal/redact"
)

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

	// Streams are created when they are missing, also when the server has lost
	// them. Their storage and replicas follow from Memory and Replicas.
	Streams []jetstream.StreamConfig
	// Joins: the user may create nothing. Connect waits for the missing streams, and
	// reports them.
	Joins bool
	// Probe is the stream that CheckJetStream asks for. Every user may see it.
	Probe string
	// Advice returns how to make room in a full stream, besides raising its limit; ""
	// or nil = it has no advice.
	Advice func(stream string) string
}

func (cfg *Config) setDefaults() {
	cfg.Inbox = cmp.Or(cfg.Inbox, "_INBOX")
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	if cfg.Advice == nil {
		cfg.Advice = func(string) string { return "" }
	}
}

// Conn is a connection to NATS. Safe for concurrent use.
type Conn struct {
	cfg       Config
	log       *slog.Logger
	nc        *nats.Conn
	link      *link
	calls     *calls
	denied    *denials
	after     queue         // done functions of asynchronous publishes
	window    chan struct{} // one place for each asynchronous publish without an answer
	recreated atomic.Int64  // when missing streams were last searched for, Unix nanoseconds
	room      room
	flow      *flow
	intake    *intake
	data      *data // nil when this is the only connection
	notices   notices
	up        uptime
	creating  chan struct{} // holds one token while a stream is being created
}

// asyncWindow is how many asynchronous publishes may wait for their answers:
// some hundred milliseconds of work at full speed.
const asyncWindow = 4096

// LeastPayload is the smallest max_payload of a server that modpipe works with.
// Longer messages are stored as values; entries of buckets, which cannot be, are
// never longer.
const LeastPayload = 128 << 10

// Connect connects and creates the missing streams.
func Connect(ctx context.Context, cfg Config) (*Conn, error) {
	c, err := open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := c.prepare(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Attach connects without creating anything, now or later. Every denied
// permission is final. It is for programs that only read.
func Attach(ctx context.Context, cfg Config) (*Conn, error) {
	c, err := open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	c.recreated.Store(math.MaxInt64) // never again
	c.denied.strict = true
	return c, nil
}

// open connects without preparing the streams.
func open(ctx context.Context, cfg Config) (*Conn, error) {
	cfg.setDefaults()
	c := newConn(cfg)
	if !inside(cfg.Options) {
		c.data = new(data)
	}
	if err := c.dial(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

func newConn(cfg Config) *Conn {
	calls := newCalls(cfg.Inbox)
	return &Conn{
		cfg: cfg, log: cfg.Logger, link: newLink(), calls: calls, denied: newDenials(calls, cfg.Logger.With("url", redact.URLs(cfg.URL))),
		window: make(chan struct{}, asyncWindow), creating: make(chan struct{}, 1), flow: newFlow(), intake: newIntake(),
	}
}

func (c *Conn) prepare(ctx context.Context) error {
	if most := c.nc.MaxPayload(); most < LeastPayload {
		return fmt.Errorf("%s takes messages of at most %d KiB (max_payload), and modpipe needs %d: %w", c.URL(), most>>10, LeastPayload>>10, ErrTooLarge)
	}
	if err := c.CheckJetStream(ctx); err != nil {
		return err
	}
	if c.cfg.Joins {
		c.recreated.Store(math.MaxInt64) // never
		return c.awaitStreams(ctx)
	}
	return c.Ensure(ctx)
}

// awaitStreams waits until another program has created the streams.
func (c *Conn) awaitStreams(ctx context.Context) error {
	var reported time.Time
	for {
		missing := ""
		for _, cfg := range c.cfg.Streams {
			have, err := c.StreamInfo(ctx, cfg.Name)
			if errors.Is(err, ErrNotFound) {
				missing = cfg.Name
				break
			}
			if err == nil {
				err = foreign(&cfg, &have.Config)
			}
			if err != nil {
				return fmt.Errorf("find stream %s: %w", cfg.Name, err)
			}
		}
		if missing == "" {
			return nil
		}
		if time.Since(reported) >= waitReportEvery {
			reported = time.Now()
			c.log.Warn("waiting for an orchestrator, which creates what is missing on NATS", "url", c.URL(), "stream", missing)
		}
		if err := pause.For(ctx, lookForStreams); err != nil {
			return err
		}
	}
}

// lookForStreams is how long awaitStreams waits between two looks: the first run on a new
// NATS waits for it.
const lookForStreams = 200 * time.Millisecond

// CheckJetStream returns why JetStream cannot be used; nil when it can.
//
// It distinguishes a server without JetStream from one that is not ready yet. A
// server without JetStream may route to others that have it, so silence decides.
// For a server with JetStream it waits for an answer as long as for the first
// connection.
func (c *Conn) CheckJetStream(ctx context.Context) error {
	enabled, _ := c.nc.ConnectedServerJetStream()
	if !enabled {
		_, err := c.askJetStream(ctx, time.Second)
		if errors.Is(err, ErrNotReady) && ctx.Err() == nil {
			err = noJetStream(c, errSilent)
		}
		return err
	}
	if t := max(c.cfg.ConnectTimeout, electionPatience); c.cfg.ConnectTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, t, fmt.Errorf("JetStream has not answered within %v", t))
		defer cancel()
	}
	for {
		silent, err := c.askJetStream(ctx, electionPatience)
		switch {
		case !silent:
			return err
		case ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
			return err
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		c.log.Warn("waiting for JetStream: in a cluster it needs more than half of the servers", "url", c.URL(), "error", err)
	}
}

// electionPatience is for how long a cluster may be electing a leader.
const electionPatience = 10 * time.Second

// errSilent is the reason when no server answers for JetStream. It is not a
// time-out: the server was reached, and a retry does not help.
var errSilent = errors.New("nothing answers for it")

func noJetStream(c *Conn, why error) error {
	return fmt.Errorf("JetStream is not enabled on %s: start nats-server with -js (%w)", c.URL(), why)
}

// askJetStream asks for a stream; silent = there was no answer in time.
func (c *Conn) askJetStream(ctx context.Context, patience time.Duration) (silent bool, err error) {
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err = c.StreamInfo(wait, c.cfg.Probe)
	code := errorCode(err)
	if why := c.calls.unanswerable(); why != nil {
		return false, fmt.Errorf("receive answers from %s: %w", c.URL(), why)
	}
	switch {
	case err == nil, errors.Is(err, ErrNotFound), errors.Is(err, ErrDenied):
		return false, nil
	case code == codeNotEnabled, code == codeNotEnabledHere:
		return false, noJetStream(c, err)
	}
	return wait.Err() != nil, err
}

// Close sends the published messages and closes the connection.
func (c *Conn) Close() {
	if c.nc.IsConnected() {
		_ = c.nc.FlushTimeout(2 * time.Second) // a server that does not answer will not get it
	}
	c.closeData()
	c.nc.Close()
}

// Settle notes that the program begins its work. From then on the program waits
// for a denied permission, which was most often withdrawn for a moment. Before,
// a denied permission is an error (ErrDenied), unless it was used successfully.
func (c *Conn) Settle() {
	c.denied.settle()
	if c.data == nil {
		return
	}
	c.data.mu.Lock()
	defer c.data.mu.Unlock()
	if c.data.conn != nil {
		c.data.conn.denied.settle()
	}
}

// Connected reports whether the connection is up.
func (c *Conn) Connected() bool { return c.nc.IsConnected() }

// Reconnected returns a channel on which a value arrives after every
// reconnect (at least one for any number), until ctx ends.
func (c *Conn) Reconnected(ctx context.Context) <-chan struct{} { return c.link.reconnected(ctx) }

// Connection numbers the connection to NATS. The number grows before any message
// arrives on a new connection. Positions that were read on another connection
// may be wrong: a restarted server may have lost the last part of its streams,
// and reuse their sequence numbers.
func (c *Conn) Connection() uint64 { return c.nc.Stats().Reconnects + 1 }

// uptime notes since when a connection has been up.
type uptime struct {
	mu     sync.Mutex
	number uint64
	since  time.Time
}

// ConnectedFor is how long the connection of a number (Connection) has been up,
// as far as this process has noticed: it checks when it connects, and whenever
// this is called. It is 0 for a connection that is not the present one.
func (c *Conn) ConnectedFor(number uint64) time.Duration {
	c.up.mu.Lock()
	defer c.up.mu.Unlock()
	if now := c.Connection(); c.up.number != now {
		c.up.number, c.up.since = now, time.Now()
	}
	if c.up.number != number {
		return 0
	}
	return time.Since(c.up.since)
}
