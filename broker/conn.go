package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// Config says how to connect.
type Config struct {
	URL            string        // as nats.Connect takes it, several separated by commas
	Name           string        // of the client, in the server's monitoring
	Options        []nats.Option // credentials, TLS, in-process server
	Inbox          string        // prefix of the inboxes, to which the role may subscribe; "_INBOX" when empty
	ConnectTimeout time.Duration // 0 = retry until ctx ends
	Prefix         string        // of every stream, bucket and subject; "mp" when empty
	Replicas       int           // of created streams; 1 when 0
	Memory         bool          // created streams are in memory: for tests
	Logger         *slog.Logger  // slog.Default() when nil
}

func (cfg *Config) validate() error {
	cfg.Prefix = cmp.Or(cfg.Prefix, "mp")
	cfg.Inbox = cmp.Or(cfg.Inbox, "_INBOX")
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	if !prefixPattern.MatchString(cfg.Prefix) {
		return fmt.Errorf("prefix %q: want at most 32 of a-z, 0-9, _ and -", cfg.Prefix)
	}
	return nil
}

// Conn is a connection with modpipe's streams on it. Safe for concurrent use.
type Conn struct {
	cfg     Config
	names   names
	log     *slog.Logger
	nc      *nats.Conn
	link    *link
	calls   *calls
	denied  *denials
	after   queue         // done functions of asynchronous publishes
	window  chan struct{} // one place for each asynchronous publish without an answer
	specs   specs
	mended  atomic.Int64 // when missing streams were last looked for, Unix nanoseconds
	room    room
	flow    *flow
	intake  *intake
	data    *data // nil when this is the only connection
	notices notices
	stands  stands
	making  chan struct{} // holds one token while a stream is being created
}

// asyncWindow is how many asynchronous publishes may wait for their answers:
// some hundred milliseconds of work at full speed.
const asyncWindow = 4096

// LeastPayload is the smallest max_payload of a server that modpipe works with.
// Longer messages go through the object store; entries of buckets, which cannot,
// are never longer.
const LeastPayload = 128 << 10

// Connect connects and creates the missing streams and buckets.
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

// open connects without preparing the streams.
func open(ctx context.Context, cfg Config) (*Conn, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
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
		cfg: cfg, names: names{cfg.Prefix}, log: cfg.Logger, link: newLink(), calls: calls, denied: newDenials(calls, cfg.Logger.With("url", redact(cfg.URL))),
		window: make(chan struct{}, asyncWindow), making: make(chan struct{}, 1), flow: newFlow(), intake: newIntake(),
	}
}

func (c *Conn) prepare(ctx context.Context) error {
	if most := c.nc.MaxPayload(); most < LeastPayload {
		return fmt.Errorf("%s takes messages of at most %d KiB (max_payload), and modpipe needs %d: %w", c.URL(), most>>10, LeastPayload>>10, ErrTooLarge)
	}
	if err := c.checkJetStream(ctx); err != nil {
		return err
	}
	return c.Ensure(ctx)
}

// checkJetStream distinguishes a server without JetStream from one that is not
// ready yet. A server without JetStream may route to others that have it, so
// silence decides. For a server with JetStream it waits for an answer as long as
// for the first connection.
func (c *Conn) checkJetStream(ctx context.Context) error {
	enabled, _ := c.nc.ConnectedServerJetStream()
	if !enabled {
		_, err := c.askJetStream(ctx, time.Second)
		if errors.Is(err, errNotReady) && ctx.Err() == nil {
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
	_, err = c.streamInfo(wait, c.names.runsStream())
	code := errorCode(err)
	if deaf := c.calls.deaf(); deaf != nil {
		return false, fmt.Errorf("hear answers from %s: %w", c.URL(), deaf)
	}
	switch {
	case err == nil, errors.Is(err, ErrNotFound), errors.Is(err, ErrDenied):
		return false, nil
	case code == codeNotEnabled, code == codeNotEnabledHere:
		return false, noJetStream(c, err)
	}
	return wait.Err() != nil, err
}

// Prefix is the prefix of streams, buckets and subjects.
func (c *Conn) Prefix() string { return c.cfg.Prefix }

// NATS returns the underlying connection, for package kv.
func (c *Conn) NATS() *nats.Conn { return c.nc }

// Close sends the published messages and closes the connection.
func (c *Conn) Close() {
	if c.nc.IsConnected() {
		_ = c.nc.FlushTimeout(2 * time.Second) // a server that does not answer will not get it
	}
	c.closeData()
	c.nc.Close()
}

// URL returns the connected server's URL without credentials, or the configured
// ones while there is no connection.
func (c *Conn) URL() string {
	if url := c.nc.ConnectedUrlRedacted(); url != "" {
		return redact(url)
	}
	return redact(c.cfg.URL)
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

// Reconnected returns a channel on which a value arrives after every
// reconnect (at least one for any number), until ctx ends.
func (c *Conn) Reconnected(ctx context.Context) <-chan struct{} { return c.link.reconnected(ctx) }

// Connection numbers the connection to NATS. The number grows before any message
// arrives on a new connection. Positions that were read on another connection
// may be wrong: a restarted server may have lost the last part of its streams,
// and reuse their sequence numbers.
func (c *Conn) Connection() uint64 { return c.nc.Stats().Reconnects + 1 }

// stands notes since when a connection has stood.
type stands struct {
	mu     sync.Mutex
	number uint64
	since  time.Time
}

// ConnectedFor is how long the connection of a number (Connection) has stood,
// as far as this process has noticed: it looks when it connects, and whenever
// this is called. It is 0 for one that is not the present connection.
func (c *Conn) ConnectedFor(number uint64) time.Duration {
	c.stands.mu.Lock()
	defer c.stands.mu.Unlock()
	if now := c.Connection(); c.stands.number != now {
		c.stands.number, c.stands.since = now, time.Now()
	}
	if c.stands.number != number {
		return 0
	}
	return time.Since(c.stands.since)
}

// mend recreates missing streams when no stream answers, at most once a second:
// a restart of the server removes a memory stream.
func (c *Conn) mend(ctx context.Context) {
	now := time.Now().UnixNano()
	last := c.mended.Load()
	if now-last < int64(time.Second) || !c.mended.CompareAndSwap(last, now) {
		return
	}
	for _, cfg := range c.streams() {
		missing, known := c.lookFor(ctx, cfg.Name)
		if !known {
			return
		}
		if !missing {
			continue
		}
		if c.room.due("loss of "+cfg.Name, time.Now()) {
			c.log.Warn("NATS has lost a stream; making it again", "stream", cfg.Name, "url", c.URL())
		}
		if err := c.createStream(ctx, cfg); err != nil {
			if c.room.due("making "+cfg.Name, time.Now()) {
				c.log.Error("make a stream again", "stream", cfg.Name, "url", c.URL(), "error", err)
			}
		}
	}
}

// lookPatience bounds the question whether a stream exists. A cluster that elects
// a leader does not answer, and the caller's own retry must not wait for seconds
// after the election.
const lookPatience = 300 * time.Millisecond

// lookFor reports whether a stream is missing. known = the server answered.
func (c *Conn) lookFor(ctx context.Context, stream string) (missing, known bool) {
	look, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	m, err := c.apiOnce(look, "STREAM.INFO."+stream, nil)
	return errors.Is(err, ErrNotFound), m != nil
}

// redact removes users, passwords and tokens from a list of URLs.
func redact(urls string) string {
	list := strings.Split(urls, ",")
	for i, u := range list {
		u = strings.TrimSpace(u)
		scheme, rest, ok := strings.Cut(u, "://")
		if !ok {
			scheme, rest = "", u
		}
		if at := strings.LastIndex(rest, "@"); at >= 0 {
			rest = rest[at+1:]
		}
		if ok {
			rest = scheme + "://" + rest
		}
		list[i] = rest
	}
	return strings.Join(list, ",")
}
