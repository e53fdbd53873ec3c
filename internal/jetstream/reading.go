package jetstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/modpipe/modpipe/internal/ident"
)

// reading is one push consumer of a feed.
type reading struct {
	c        *Conn
	src      *Source
	at       *position
	f        func(Message) error
	arrived  chan *nats.Msg
	denied   chan error
	sequence uint64 // of the consumer: the last message seen
	caughtUp bool
	moved    bool     // the position is from another connection
	remote   bool     // over a link, where data may wait behind other data
	asked    *request // nil = any number of messages
	count    int      // messages handed on, of any kind
	bytes    int      // of them
	pending  uint64   // messages that were still to come when the newest was sent
}

// feedOnce reads with one consumer: until something is wrong or, over a link,
// until what was asked for has arrived.
func (c *Conn) feedOnce(ctx context.Context, src *Source, at *position, link *intake, f func(Message) error) (err error) {
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
	name := ident.New()
	if err := r.begin(ctx, name, inbox); err != nil {
		if errors.Is(err, errEnough) { // it was created, and has nothing to send
			c.dropConsumer(src.Stream, name)
		}
		return err
	}
	defer c.dropConsumer(src.Stream, name)
	return r.read(ctx, again)
}

// subscribe receives what the consumer sends. Where a request bounds that, there
// is room for all of it, and a slow receiver does not keep the link from others.
func (r *reading) subscribe(watching context.Context, inbox string) (*nats.Subscription, error) {
	sub, err := r.c.nc.Subscribe(inbox, func(m *nats.Msg) {
		r.asked.arrived(m)
		if r.asked != nil && m.Reply != "" && IsStatus(m) && r.asked.arriving() {
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

// IsStatus reports whether a message is the server's own.
func IsStatus(m *nats.Msg) bool { return len(m.Data) == 0 && m.Header.Get("Status") != "" }

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
	err := r.c.createConsumerOnce(ctx, r.src.Stream, r.src.consumer(name, inbox), &info)
	if errors.Is(err, ErrNotFound) {
		r.at.connection = 0 // the position does not count in the next stream of this name
		if r.src.missing != nil {
			return errors.Join(errRestart, r.src.missing(ctx))
		}
		r.c.Recreate(ctx)
		return fmt.Errorf("%w: %w", errRestart, err)
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
		r.src.After = 0
		*r.at = position{}
	}
	first := !r.at.begun
	r.moved = r.at.connection != connection
	r.at.begun, r.at.connection = true, connection
	if (first || again) && r.src.Began != nil {
		return r.src.Began()
	}
	return nil
}

// sameStream detects a stream that was recreated, or has lost its last part. It
// asks after the creation of the consumer, so that no consumer of another stream
// is ever read.
func (r *reading) sameStream(ctx context.Context) error {
	if r.src.Latest || r.src.whole || r.src.Verified {
		return nil // these need no position, or check what they have read
	}
	info, err := r.c.StreamInfoOnce(ctx, r.src.Stream)
	switch {
	case errors.Is(err, ErrDenied) && r.src.After == 0:
		return nil
	case errors.Is(err, ErrDenied), errors.Is(err, ErrNotFound):
		r.at.connection = 0
		return fmt.Errorf("%w: %w", errRestart, err)
	case err != nil:
		return err
	}
	same := (r.at.created.IsZero() || r.at.created.Equal(info.Created)) && info.State.LastSeq >= r.src.After
	if same && r.src.Continues && r.moved && !r.at.stored.IsZero() {
		l, err := r.c.messageAt(ctx, r.src.Stream, r.src.After)
		if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrDenied) {
			return err
		}
		same = err == nil && l.Time.Equal(r.at.stored)
	}
	r.at.created = info.Created
	if !same {
		r.at.connection = 0
		r.c.log.Warn("NATS has lost a stream, or the last part of it: reading it from the start", "stream", r.src.Stream, "url", r.c.URL())
		return errRestart
	}
	return nil
}

func (r *reading) catchUp() error {
	if r.caughtUp || r.src.CaughtUp == nil {
		return nil
	}
	r.caughtUp = true
	return r.src.CaughtUp()
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
				return errRestart
			}
			answered, pinged = r.ping(pinging), true
		case err := <-answered:
			if err != nil {
				return errRestart
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
	if IsStatus(m) {
		return r.status(m)
	}
	meta, err := m.Metadata()
	if err != nil {
		return fmt.Errorf("%w: %w", errRestart, err)
	}
	if meta.Sequence.Consumer != r.sequence+1 {
		return errRestart
	}
	r.sequence++
	if r.src.Latest || meta.Sequence.Stream > r.src.After {
		if err := r.f(Message{m, meta.Sequence.Stream, meta.Timestamp.UTC()}); err != nil {
			return err
		}
		r.src.After, r.at.stored = meta.Sequence.Stream, meta.Timestamp.UTC()
	}
	r.src.Bytes = max(r.src.Bytes-len(m.Data), 0)
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
		return errRestart
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
		return errRestart
	case err == nil && stalled == "" && r.src.OnBeat != nil:
		return r.src.OnBeat()
	}
	if stalled == "" && r.src.CaughtUp != nil && !r.caughtUp {
		// Nothing is left to send, and no message was marked as the last: the
		// remaining messages were removed. Another consumer knows that.
		return errRestart
	}
	return nil
}
