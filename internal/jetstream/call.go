package jetstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/ident"
)

// tryTimeout bounds the wait for one answer.
const tryTimeout = 3 * time.Second

// slowestLink is the rate, in bytes a second, at which an answer of known length has to
// arrive: 128 kbit/s.
const slowestLink = 16 << 10

// sweepEvery is the time between two searches for calls that have waited too long.
const sweepEvery = 250 * time.Millisecond

// calls is the table of requests that wait for their answers, on one inbox.
type calls struct {
	nc      *nats.Conn
	root    string       // of all inboxes
	prefix  string       // of the inbox, with its dot
	allowed func(string) // called when a permission works for the first time, or again after a denial

	mu         sync.Mutex
	inbox      *nats.Subscription
	patient    bool            // wait for a slow answer while others arrive
	lastAnswer time.Time       // when the last answer arrived
	used       map[string]bool // permissions that were used successfully; false = denied since
	next       uint64
	waiting    map[uint64]call
	sweeping   bool
	refused    error // why the inbox cannot receive answers; nil when it can
}

// call is one request. done is called exactly once, on any goroutine, and must
// not block.
type call struct {
	subject string
	sent    time.Time
	long    time.Duration // that the slowest link needs for the answer
	done    func(*nats.Msg, error)
}

// newCall is a request that is sent now, with an answer of about so many bytes.
func newCall(subject string, bytes int, done func(*nats.Msg, error)) call {
	return call{subject, time.Now(), time.Duration(bytes) * time.Second / slowestLink, done}
}

func newCalls(inbox string) *calls {
	return &calls{root: inbox, prefix: inbox + "." + ident.New() + ".", waiting: map[uint64]call{}, used: map[string]bool{}, allowed: func(string) {}}
}

// open subscribes the inbox. It precedes every call.
func (t *calls) open(nc *nats.Conn) error {
	t.nc = nc
	return t.subscribe()
}

// subscribe subscribes the inbox, in place of an earlier subscription.
func (t *calls) subscribe() error {
	sub, err := t.nc.Subscribe(t.prefix+"*", t.answered)
	if err != nil {
		return fmt.Errorf("subscribe to %s*: %w", t.prefix, err)
	}
	t.mu.Lock()
	old := t.inbox
	t.inbox = sub
	t.mu.Unlock()
	if old != nil {
		_ = old.Unsubscribe() // fails only on a closed connection
	}
	return sub.SetPendingLimits(-1, -1) // bounded by what was asked
}

// openLater subscribes the inbox again after a while, because NATS has denied it
// for now. The next denial calls openLater again.
func (t *calls) openLater() {
	time.AfterFunc(askAgain, func() {
		if t.subscribe() == nil {
			t.refuse(nil)
		}
	})
}

// works notes that a permission was used successfully.
func (t *calls) works(permission string) {
	t.mu.Lock()
	known := t.used[permission]
	t.used[permission] = true
	t.mu.Unlock()
	if !known {
		t.allowed(permission)
	}
}

// worked reports whether a permission was used successfully.
func (t *calls) worked(permission string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.used[permission]
	if ok {
		t.used[permission] = false
	}
	return ok
}

// send publishes m with its own reply subject.
func (t *calls) send(m *nats.Msg, done func(*nats.Msg, error)) (id uint64) {
	return t.request(m, 0, done)
}

// request is send for an answer of about so many bytes, which may take long.
func (t *calls) request(m *nats.Msg, bytes int, done func(*nats.Msg, error)) (id uint64) {
	t.mu.Lock()
	if t.refused != nil {
		err := t.refused
		t.mu.Unlock()
		done(nil, err)
		return 0
	}
	t.next++
	id = t.next
	t.waiting[id] = newCall(m.Subject, bytes, done)
	if !t.sweeping {
		t.sweeping = true
		time.AfterFunc(sweepEvery, t.sweep)
	}
	t.mu.Unlock()
	m.Reply = t.prefix + strconv.FormatUint(id, 36)
	if err := t.nc.PublishMsg(m); err != nil {
		var broken net.Error
		switch {
		case errors.Is(err, nats.ErrMaxPayload):
			err = fmt.Errorf("%w for a message: %d bytes, and the server takes %d (max_payload)", ErrTooLarge, m.Size(), t.nc.MaxPayload())
		case errors.As(err, &broken): // the socket's: the client has yet to notice that the connection is lost
			err = fmt.Errorf("%w: %w", errLost, err)
		}
		t.end(id, nil, err)
	}
	return id
}

// ask sends m and waits for the answer.
func (t *calls) ask(ctx context.Context, m *nats.Msg) (*nats.Msg, error) {
	type result struct {
		m   *nats.Msg
		err error
	}
	answer := make(chan result, 1) // so that done never blocks
	id := t.send(m, func(m *nats.Msg, err error) { answer <- result{m, err} })
	select {
	case r := <-answer:
		return r.m, r.err
	case <-ctx.Done():
		t.forget(id)
		return nil, context.Cause(ctx)
	}
}

func (t *calls) answered(m *nats.Msg) {
	id, err := strconv.ParseUint(m.Subject[len(t.prefix):], 36, 64)
	if err != nil {
		return
	}
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		t.end(id, nil, ErrNotReady)
		return
	}
	t.end(id, m, nil)
}

func (t *calls) end(id uint64, m *nats.Msg, err error) {
	t.mu.Lock()
	c, ok := t.waiting[id]
	delete(t.waiting, id)
	if m != nil && t.patient {
		t.lastAnswer = time.Now()
	}
	t.mu.Unlock()
	if ok && m != nil {
		t.works(permission(c.subject))
		t.works(inboxPermission)
	}
	if ok {
		c.done(m, err)
	}
}

func (t *calls) forget(id uint64) {
	t.mu.Lock()
	delete(t.waiting, id)
	t.mu.Unlock()
}

// fail ends every call that which picks.
func (t *calls) fail(err error, which func(call) bool) int {
	t.mu.Lock()
	var failed []call
	for id, c := range t.waiting {
		if which(c) {
			failed = append(failed, c)
			delete(t.waiting, id)
		}
	}
	t.mu.Unlock()
	for _, c := range failed {
		c.done(nil, err)
	}
	return len(failed)
}

// refuse ends all calls, now and until the next connection, because the
// inbox may not be subscribed.
func (t *calls) refuse(err error) {
	t.mu.Lock()
	t.refused = err
	t.mu.Unlock()
	if err != nil {
		t.fail(err, func(call) bool { return true })
	}
}

// unanswerable returns why no answers can be received; nil when they can.
func (t *calls) unanswerable() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.refused
}

// sweep ends the calls that have waited too long, and runs again while any wait.
func (t *calls) sweep() {
	now := time.Now()
	t.fail(ErrNoAnswer, func(c call) bool { return t.late(now, c) })
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweeping = len(t.waiting) > 0
	if t.sweeping {
		time.AfterFunc(sweepEvery, t.sweep)
	}
}

// late reports whether a call has waited too long. On a slow link it waits while
// earlier calls are being answered. The caller holds mu.
func (t *calls) late(now time.Time, c call) bool {
	took := now.Sub(c.sent)
	if !t.patient {
		return took > tryTimeout+c.long
	}
	return took > answerWithin+c.long || took > stallAfter+c.long && now.Sub(t.lastAnswer) > stallAfter+c.long
}
