package puller

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/jobs"
)

const (
	scanEvery   = time.Second     // between scans of all lanes, which find jobs whose bells were lost
	giveUpAfter = 2 * time.Second // for the answer to a request
	passedOver  = time.Second     // after which slots are kept for a job of several
	farewell    = 250 * time.Millisecond
	reopenAfter = time.Second // after a permission was withdrawn
	mostAtOnce  = 256         // jobs of one request

	// linger is how long a second request waits on the server when the first
	// one, after a bell, found nothing: the server rings before the lane's
	// consumer knows of the job.
	linger = 2 * time.Millisecond
)

// Source reads the queue for a puller.
type Source interface {
	// Body returns the body of a job's message. A permanent error is one that
	// every reader of the message gets.
	Body(ctx context.Context, m *nats.Msg) ([]byte, error)
	// ByReference reports whether Body needs the object store.
	ByReference(m *nats.Msg) bool
	// Backlog returns how many jobs of a lane wait for a worker, and how many are
	// delivered and not acknowledged.
	Backlog(ctx context.Context, lane jobs.Lane) (waiting, delivered int, err error)
}

// Puller keeps a worker's slots filled from the lanes that it serves.
//
// Run owns everything below the line. Other goroutines leave their wishes in the
// fields above it and wake Run.
type Puller struct {
	queue   Source
	c       *jetstream.Conn
	slots   int
	handle  func(*Delivery)
	wake    chan struct{} // one is enough for any number
	events  chan event    // received by nats.go's goroutines; a short queue saves switches
	drained chan struct{} // closed after the last possible delivery
	ended   chan struct{} // closed when Run has returned

	mu        sync.Mutex
	serve     map[jobs.Lane]int
	changed   bool
	freed     int
	paused    bool
	recreated bool // the queue was recreated: a bell named a lower sequence

	// Run's own.
	work     *errgroup.Group // functions that wait for NATS on Run's behalf
	lanes    map[jobs.Lane]*lane
	turn     []*lane     // the lanes
	alarm    *time.Timer // rings when the next lane stops yielding
	late     []*inbox
	used     int    // slots of jobs that run
	reserved int    // slots of requested jobs
	fetching int    // jobs whose bodies are being read from the object store
	floor    uint64 // jobs up to this sequence were stored before the connection was established
	denied   error
	served   bool // some lane has answered
	stopping bool
}

// event is a message or a function for Run.
type event struct {
	box *inbox
	msg *nats.Msg
	do  func() // instead of a message
}

// New creates a puller with this many slots, on a connection to the queue.
// handle is called on the puller's goroutine with every delivery and must not block.
func New(c *jetstream.Conn, queue Source, slots int, handle func(*Delivery)) *Puller {
	return &Puller{
		queue: queue, c: c, slots: slots, handle: handle, floor: math.MaxUint64,
		wake: make(chan struct{}, 1), events: make(chan event, 64),
		drained: make(chan struct{}), ended: make(chan struct{}),
		serve: map[jobs.Lane]int{}, lanes: map[jobs.Lane]*lane{},
	}
}

// Run pulls until ctx ends (then it returns nil), or NATS lets this worker
// pull from no lane at all (jetstream.ErrDenied). It runs once.
func (p *Puller) Run(ctx context.Context) error {
	defer close(p.ended)
	ctx, cancel := context.WithCancel(ctx)
	p.work = new(errgroup.Group)
	defer func() {
		cancel()
		_ = p.work.Wait() // its functions return nil
	}()
	defer p.c.WatchDenials(p.concerns, func(err error) { p.send(ctx, event{do: func() { p.refused(ctx, err) }}) })()
	reconnected := p.c.Reconnected(ctx)
	tick := time.NewTicker(scanEvery)
	defer tick.Stop()
	p.alarm = time.NewTimer(scanEvery)
	defer p.alarm.Stop()
	p.findFloor(ctx)
	for {
		p.takeWishes(ctx)
		now := time.Now()
		p.fill(ctx, now)
		p.setAlarm(now)
		if p.denied != nil {
			p.part()
			return p.denied
		}
		select {
		case e := <-p.events:
			p.handleEvent(ctx, e)
		case <-p.wake:
		case <-p.alarm.C:
		case <-tick.C:
			p.tick(time.Now())
		case <-reconnected:
			p.reconnected(ctx)
		case <-ctx.Done():
			p.part()
			return nil
		}
	}
}

func (p *Puller) send(ctx context.Context, e event) {
	select {
	case p.events <- e:
	case <-ctx.Done():
	}
}

// tick gives up on unanswered requests and scans all lanes.
func (p *Puller) tick(now time.Time) {
	for _, l := range p.turn {
		if l.out > 0 && now.Sub(l.asked) > giveUpAfter {
			p.abandon(l)
		}
		l.want = true
	}
	p.forgetLate(now)
}

// reconnected gives up on all requests: their answers were lost, or arrive in
// inboxes that stay subscribed.
func (p *Puller) reconnected(ctx context.Context) {
	for _, l := range p.turn {
		if l.out > 0 {
			p.abandon(l)
		}
		l.box.on = p.c.Connection()
		l.silenced = false
		l.startOver() // the server may have lost the last part of the queue
	}
	p.findFloor(ctx)
}

func (p *Puller) handleEvent(ctx context.Context, e event) {
	switch {
	case e.do != nil:
		e.do()
	case jetstream.IsStatus(e.msg):
		p.status(ctx, e.box, e.msg.Header.Get("Status"), e.msg.Header.Get("Description"))
	default:
		p.arrived(ctx, e.box, e.msg)
	}
}

// part ends the open requests. Late deliveries return to the queue immediately
// instead of after AckWait.
func (p *Puller) part() {
	p.stopping = true
	for _, l := range p.turn {
		_ = l.bell.Unsubscribe() // fails only on a closed connection
	}
	timeout := time.NewTimer(farewell)
	defer timeout.Stop()
	for p.reserved > 0 && p.c.Connected() {
		select {
		case e := <-p.events:
			p.parting(e)
		case <-timeout.C:
			p.reserved = 0
		}
	}
	for _, l := range p.turn {
		_ = l.box.sub.Unsubscribe()
	}
	for _, box := range p.late {
		_ = box.sub.Unsubscribe()
	}
}

func (p *Puller) parting(e event) {
	switch {
	case e.msg == nil:
		return
	case jetstream.IsStatus(e.msg):
		if l := e.box.lane; l != nil {
			p.finished(l)
		}
	default:
		p.countArrival(e.box)
		p.giveBack(e.msg)
	}
}

func (p *Puller) giveBack(m *nats.Msg) {
	if err := answer(m, ackNak); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		p.c.Logger().Debug("cannot give a job back", "subject", m.Subject, "error", fmt.Errorf("nak: %w", err))
	}
}
