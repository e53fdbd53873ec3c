package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/modpipe/modpipe/internal/pause"
)

// source describes what to read of a stream.
type source struct {
	stream   string
	bulk     bool // values or output, which must not delay other answers
	length   int  // bytes of a message, about; 0 = unknown
	size     int  // bytes that are to come; 0 = unknown
	count    int  // messages of the last reading that was bounded
	live     bool // the reader has caught up with the writers
	filters  []string
	after    uint64                      // the last known sequence
	headers  bool                        // read headers only
	latest   bool                        // begin with the last message of every subject, also after every error
	whole    bool                        // begin from the start after every error
	verified bool                        // the reader checks the whole, so a position always counts
	keeps    bool                        // a position counts on another connection if its message is the same; for output, which decides nothing
	begun    func() error                // called before reading from the start: earlier messages do not count
	caught   func() error                // called when all existing messages have been handed on, after every beginning
	missing  func(context.Context) error // creates the missing stream
	beat     time.Duration               // how often the server reports that nothing is new; 0 = feedBeat
	beaten   func() error                // called for such a report, after all earlier messages have been handed on
}

// errEnough ends a feed whose reader needs no more.
var errEnough = errors.New("enough")

// silence is how long a consumer may be silent before it counts as lost.
func (s *source) silence() time.Duration { return 4 * cmp.Or(s.beat, feedBeat) }

// position identifies the stream and the connection in which a feed's last
// sequence counts.
type position struct {
	begun      bool // a consumer was created
	connection uint64
	created    time.Time // of the stream; zero = unknown
	stored     time.Time // when the message at the position was
}

// counts reports whether the next consumer may begin after the last sequence.
func (p *position) counts(s *source, connection uint64) bool {
	switch {
	case s.verified, !p.begun:
		return true
	case s.keeps:
		return p.connection != 0
	}
	return p.connection == connection && !s.latest && !s.whole
}

// feed reads a source with its own push consumer and passes every message to f,
// in order, once. After an error on the same connection it creates another
// consumer, which begins after the last sequence. On a new connection, and when
// the stream was recreated, it begins from the start, because the server may
// have lost messages and reuse their sequences. It returns nil when ctx ends,
// f's error, or a permanent error.
func (c *Conn) feed(ctx context.Context, src source, f func(located) error) error {
	backoff := newBackOff()
	var at position
	for {
		last := src.after
		err := c.feedFrom(ctx, &src, &at, f)
		if errors.Is(err, errAhead) {
			continue
		}
		src.live = false
		if again := errors.Is(err, errOdd) || transient(err); !again || ctx.Err() != nil {
			return ignoreEnd(ctx, c.closedMeans(err))
		}
		if src.after > last || errors.Is(err, errLost) {
			backoff.Reset()
		}
		if err := c.link.await(ctx); err != nil {
			return ignoreEnd(ctx, err)
		}
		if pause.For(ctx, backoff.NextBackOff()) != nil {
			return nil
		}
	}
}

// feedFrom is feedOnce on the source's connection.
func (c *Conn) feedFrom(ctx context.Context, src *source, at *position, f func(located) error) error {
	if !src.bulk {
		return c.feedOnce(ctx, src, at, nil, f)
	}
	if err := c.pinned(ctx); err != nil {
		return err
	}
	d := c.carrier(ctx)
	if d != c {
		ctx = unpinned(ctx)
	}
	if c.data == nil { // no link is between
		return d.feedOnce(ctx, src, at, nil, f)
	}
	return d.feedOnce(ctx, src, at, d.intake, f)
}

// errOdd marks an error that another consumer is likely to solve.
var errOdd = errors.New("the consumer is gone or has lost messages")

// ignoreEnd returns nil when ctx has ended, else err.
func ignoreEnd(ctx context.Context, err error) error {
	select {
	case <-ctx.Done():
		return nil
	default:
		return err
	}
}

// reading is one push consumer of a feed.
type reading struct {
	c        *Conn
	src      *source
	at       *position
	f        func(located) error
	arrived  chan *nats.Msg
	denied   chan error
	sequence uint64 // of the consumer: the last message seen
	caughtUp bool
	moved    bool     // the position is from another connection
	remote   bool     // over a link, where data may wait behind other data
	asked    *request // nil = any number of messages
	count    int      // messages handed on, of whatever kind
	bytes    int      // of them
	pending  uint64   // messages that were still to come when the newest was sent
}

// feedOnce reads with one consumer: until something is wrong or, over a link,
// until what was asked for has arrived.
func (c *Conn) feedOnce(ctx context.Context, src *source, at *position, link *intake, f func(located) error) (err error) {
	if err := c.link.await(ctx); err != nil {
		return err
	}
	// Both channels let go of nats.go's goroutines: what was asked for, or else
	// the consumer's window, bounds what arrives; one denial is enough.
	r := &reading{c: c, src: src, at: at, f: f, denied: make(chan error, 1), remote: link != nil}
	places := 64
	if link != nil && !src.live {
		if r.asked, err = link.ask(ctx, src); err != nil {
			return err
		}
		defer func() { r.asked.end(err) }()
		places = r.asked.count
	}
	r.arrived = make(chan *nats.Msg, places)
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	again := c.link.reconnected(watching)
	inbox := c.nc.NewInbox()
	defer c.denied.watch(func(s string, sub bool) bool { return sub && s == inbox }, r.refused)()
	sub, err := r.subscribe(watching, inbox)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only on a closed connection
	name := nuid.Next()
	if err := r.begin(ctx, name, inbox); err != nil {
		if errors.Is(err, errEnough) { // it was made, and had nothing
			c.dropConsumer(src.stream, name)
		}
		return err
	}
	defer c.dropConsumer(src.stream, name)
	return r.read(ctx, again)
}

// subscribe receives what the consumer sends. Where a request bounds that, there
// is room for all of it, and a slow receiver does not keep the link from others.
func (r *reading) subscribe(watching context.Context, inbox string) (*nats.Subscription, error) {
	sub, err := r.c.nc.Subscribe(inbox, func(m *nats.Msg) {
		r.asked.arrived(m)
		if r.asked != nil && m.Reply != "" && isStatus(m) && r.asked.arriving() {
			_ = m.Respond(nil) // fails only on a lost connection; the server ignores a second answer
		}
		select {
		case r.arrived <- m:
		case <-watching.Done():
		}
	})
	if err != nil {
		return nil, err
	}
	if err := sub.SetPendingLimits(mostCount, 64<<20); err != nil {
		return sub, err
	}
	if r.asked != nil {
		return sub, sub.AutoUnsubscribe(r.asked.count)
	}
	return sub, nil
}

// isStatus reports whether a message is the server's own.
func isStatus(m *nats.Msg) bool { return len(m.Data) == 0 && m.Header.Get("Status") != "" }

func (r *reading) refused(err error) {
	select {
	case r.denied <- err:
	default:
	}
}

// begin tries once to create the consumer, which has one replica. If the cluster
// places it on a server that has just died, there is no answer until that server
// returns; another consumer gets another place.
func (r *reading) begin(ctx context.Context, name, inbox string) error {
	if err := r.setOut(); err != nil {
		return err
	}
	var info jetstream.ConsumerInfo
	err := r.c.createConsumerOnce(ctx, r.src.stream, feedConsumer(r.src, name, inbox), &info)
	if errors.Is(err, ErrNotFound) {
		r.at.connection = 0 // the position does not count in the next stream of this name
		if r.src.missing != nil {
			return errors.Join(errOdd, r.src.missing(ctx))
		}
		r.c.mend(ctx)
		return fmt.Errorf("%w: %w", errOdd, err)
	}
	if err == nil {
		err = r.sameStream(ctx)
	}
	if err != nil {
		return err
	}
	if info.NumPending == 0 && info.Delivered.Consumer == 0 {
		r.asked.leave()
		return r.catchUp()
	}
	return nil
}

// setOut decides at which sequence the consumer begins.
func (r *reading) setOut() error {
	connection := r.c.Connection()
	again := r.at.begun && !r.at.counts(r.src, connection)
	if again {
		r.src.after = 0
		*r.at = position{}
	}
	first := !r.at.begun
	r.moved = r.at.connection != connection
	r.at.begun, r.at.connection = true, connection
	if (first || again) && r.src.begun != nil {
		return r.src.begun()
	}
	return nil
}

// sameStream detects a stream that was recreated, or has lost its last part. It
// asks after the creation of the consumer, so that no consumer of another stream
// is ever read.
func (r *reading) sameStream(ctx context.Context) error {
	if r.src.latest || r.src.whole || r.src.verified {
		return nil // these need no position, or check what they have read
	}
	info, err := r.c.streamInfoOnce(ctx, r.src.stream)
	switch {
	case errors.Is(err, ErrDenied) && r.src.after == 0:
		return nil
	case errors.Is(err, ErrDenied), errors.Is(err, ErrNotFound):
		r.at.connection = 0
		return fmt.Errorf("%w: %w", errOdd, err)
	case err != nil:
		return err
	}
	same := (r.at.created.IsZero() || r.at.created.Equal(info.Created)) && info.State.LastSeq >= r.src.after
	if same && r.src.keeps && r.moved && !r.at.stored.IsZero() {
		l, err := r.c.messageAt(ctx, r.src.stream, r.src.after)
		if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrDenied) {
			return err
		}
		same = err == nil && l.time.Equal(r.at.stored)
	}
	r.at.created = info.Created
	if !same {
		r.at.connection = 0
		r.c.log.Warn("NATS has lost a stream, or the last part of it: reading it from the start", "stream", r.src.stream, "url", r.c.URL())
		return errOdd
	}
	return nil
}

func (r *reading) catchUp() error {
	if r.caughtUp || r.src.caught == nil {
		return nil
	}
	r.caughtUp = true
	return r.src.caught()
}

// read hands messages on until an error occurs.
func (r *reading) read(ctx context.Context, again <-chan struct{}) error {
	silence := time.NewTimer(r.src.silence())
	defer silence.Stop()
	pinging, cancel := context.WithCancel(ctx)
	defer cancel()
	var answered chan error // of a ping that was sent in the silence
	pinged := false
	for {
		select {
		case m := <-r.arrived:
			if err := cmp.Or(r.message(m), r.counted(m)); err != nil {
				return err
			}
			silence.Reset(r.src.silence()) // after it, which may have waited for a slow receiver
			answered, pinged = nil, false
		case <-again:
			return errLost
		case err := <-r.denied:
			return err
		case <-silence.C:
			if !r.remote || pinged {
				return errOdd
			}
			answered, pinged = r.ping(pinging), true
		case err := <-answered:
			if err != nil {
				return errOdd
			}
			answered = nil
			silence.Reset(r.src.silence())
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// ping returns where the server's answer to a ping arrives. It arrives after all
// that the server had sent before, however slow the link is: a consumer that is
// silent until then and afterwards has sent nothing.
func (r *reading) ping(ctx context.Context) chan error {
	answered := make(chan error, 1) // so that the ping never blocks
	go func() {
		ctx, cancel := context.WithTimeout(ctx, answerWithin)
		defer cancel()
		answered <- r.c.nc.FlushWithContext(ctx)
	}()
	return answered
}

func (r *reading) message(m *nats.Msg) error {
	if r.c.Connection() != r.at.connection {
		return errLost // the server may have lost what stood before this message
	}
	if isStatus(m) {
		return r.status(m)
	}
	meta, err := m.Metadata()
	if err != nil {
		return fmt.Errorf("%w: %w", errOdd, err)
	}
	if meta.Sequence.Consumer != r.sequence+1 {
		return errOdd
	}
	r.sequence++
	if r.src.latest || meta.Sequence.Stream > r.src.after {
		if err := r.f(located{m, meta.Sequence.Stream, meta.Timestamp.UTC()}); err != nil {
			return err
		}
		r.src.after, r.at.stored = meta.Sequence.Stream, meta.Timestamp.UTC()
	}
	r.src.size = max(r.src.size-len(m.Data), 0)
	r.pending = meta.NumPending
	if meta.NumPending == 0 {
		return r.catchUp()
	}
	return nil
}

// status answers the server's flow control and compares its heartbeats with the
// messages that arrived.
func (r *reading) status(m *nats.Msg) error {
	if m.Header.Get("Status") != "100" {
		return errOdd
	}
	if m.Reply != "" {
		return m.Respond(nil)
	}
	stalled := m.Header.Get("Nats-Consumer-Stalled")
	if stalled != "" {
		if err := r.c.nc.Publish(stalled, nil); err != nil {
			return err
		}
	}
	last, err := strconv.ParseUint(m.Header.Get("Nats-Last-Consumer"), 10, 64)
	switch {
	case err == nil && last != r.sequence:
		return errOdd
	case err == nil && stalled == "" && r.src.beaten != nil:
		return r.src.beaten()
	}
	if stalled == "" && r.src.caught != nil && !r.caughtUp {
		// Nothing is left to send, and no message was marked as the last: the
		// remaining messages were removed. Another consumer knows that.
		return errOdd
	}
	return nil
}

// dropConsumer deletes a reader's consumer without waiting: the server drops
// it anyway after feedIdle.
func (c *Conn) dropConsumer(stream, name string) {
	if c.nc.IsConnected() {
		c.calls.send(&nats.Msg{Subject: "$JS.API.CONSUMER.DELETE." + stream + "." + name}, func(*nats.Msg, error) {})
	}
}

// readAll hands on the present messages of a source, and returns. After an error
// it begins from the start, and calls begun first.
func (c *Conn) readAll(ctx context.Context, src source, f func(located) error) error {
	src.whole = !src.keeps
	src.caught = func() error { return errEnough }
	if err := c.feed(ctx, src, f); !errors.Is(err, errEnough) {
		if err == nil {
			err = context.Cause(ctx)
		}
		return err
	}
	return nil
}
