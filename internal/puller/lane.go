package puller

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/bell"
	"github.com/modpipe/modpipe/internal/pause"
	"github.com/modpipe/modpipe/internal/topology"
	"github.com/modpipe/modpipe/jobs"
)

// lane is a lane that a puller serves. Run owns it, except for chime.
type lane struct {
	name      jobs.Lane
	next      string // the subject of its requests
	slots     int    // that one of its jobs takes, as wished
	chime     bell.Chime[jobs.Rank]
	waiting   bell.Waiting[jobs.Rank] // jobs that its bell announced and that may still wait, oldest first
	known     int                     // number of announced jobs since the last request
	rung      uint64                  // sequence of the newest announced job
	rank      jobs.Rank               // the best rank of the waiting jobs, or the last rank
	ranked    time.Time               // when rank was last learned; zero = never
	yields    time.Time               // until when workers without a scarcer lane may go first; zero = the lane does not yield
	bell      *nats.Subscription
	box       *inbox
	seen      uint64 // sequence of the newest job that was delivered here or requested
	announced uint64 // the newest announced job at the time of the request; 0 = the request had another reason
	retry     bool   // request again, and wait a little: see linger
	want      bool   // a job may be waiting
	more      bool   // the last delivery reported that more are waiting
	out       int    // requested jobs without an answer
	each      int    // slots reserved for each of them
	asked     time.Time
	passed    time.Time // when it was first passed over for lack of slots; zero = it is not
	checked   time.Time // when a waiting job was last confirmed
	silenced  bool      // NATS denies it, or its consumer is being created
	opening   bool      // its subscriptions will be renewed
}

// inbox receives the answers to a lane's requests. There is one request at a time,
// so that the deliveries and a final status show when it is done. After a request
// without an answer the lane uses a new inbox; the old one stays subscribed for a
// while.
type inbox struct {
	on    uint64 // number of the connection of its requests
	lane  *lane  // nil when the lane uses a new inbox
	slots int
	sub   *nats.Subscription
	left  time.Time
}

// open subscribes to a lane's bell and inbox.
func (p *Puller) open(name jobs.Lane, slots int) (*lane, error) {
	l := &lane{name: name, next: topology.NextJobs(name), slots: slots, want: true}
	err := p.listen(l)
	if err != nil {
		return nil, err
	}
	if l.box, err = p.newInbox(l); err != nil {
		_ = l.bell.Unsubscribe() // fails only on a closed connection
		return nil, err
	}
	return l, nil
}

// listen subscribes to a lane's bell.
func (p *Puller) listen(l *lane) error {
	bell, err := p.c.Subscribe(topology.Bell(l.name), func(m *nats.Msg) {
		seq, _ := strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64)
		if recreated := l.chime.Ring(seq, jobs.ParseRank(m.Header.Get(topology.RankHeader))); recreated {
			p.ask(func() { p.recreated = true })
		}
		p.rouse()
	})
	if err != nil {
		return fmt.Errorf("listen for lane %s: %w", l.name, err)
	}
	l.bell = bell
	return nil
}

func (p *Puller) newInbox(l *lane) (*inbox, error) {
	box := &inbox{lane: l, on: p.c.Connection()}
	sub, err := p.c.SubscribeInbox(func(m *nats.Msg) {
		select {
		case p.events <- event{box: box, msg: m}:
		case <-p.ended:
		}
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe for lane %s: %w", l.name, err)
	}
	box.sub = sub
	return box, nil
}

// close leaves a lane.
func (p *Puller) close(l *lane) {
	_ = l.bell.Unsubscribe() // fails only on a closed connection
	p.reserved -= l.out * l.each
	l.out = 0
	p.leave(l)
}

// leave replaces the lane's inbox. The old one receives only late deliveries.
func (p *Puller) leave(l *lane) {
	l.box.lane, l.box.slots, l.box.left = nil, l.slots, time.Now()
	p.late = append(p.late, l.box)
}

// abandon gives up on a lane's request.
func (p *Puller) abandon(l *lane) {
	p.reserved -= l.out * l.each
	l.out = 0
	p.leave(l)
	box, err := p.newInbox(l)
	if err != nil { // the connection is closed for good
		l.silenced = true
		p.c.Logger().Error("cannot serve a lane", "url", p.c.URL(), "lane", l.name, "error", err)
		return
	}
	l.box = box
	l.want = true
}

func (p *Puller) forgetLate(now time.Time) {
	kept := p.late[:0]
	for _, box := range p.late {
		if now.Sub(box.left) < AckWait {
			kept = append(kept, box)
			continue
		}
		_ = box.sub.Unsubscribe()
	}
	clear(p.late[len(kept):])
	p.late = kept
}

// longestPassed returns the lane whose jobs of several slots were passed over for
// the longest time, if that is too long.
func (p *Puller) longestPassed(now time.Time) *lane {
	var longest *lane
	for _, l := range p.turn {
		if l.passed.IsZero() || !l.wants() || now.Sub(l.passed) < passedOver {
			continue
		}
		if longest == nil || l.passed.Before(longest.passed) {
			longest = l
		}
	}
	return longest
}

// confirm asks whether a job waits on a lane for which slots are kept, so that no
// slot stays idle for a job that another worker has taken.
func (p *Puller) confirm(ctx context.Context, l *lane, now time.Time) {
	if now.Sub(l.checked) < scanEvery {
		return
	}
	l.checked = now
	p.work.Go(func() error {
		wait, cancel := context.WithTimeout(ctx, giveUpAfter)
		defer cancel()
		waiting, _, err := p.queue.Backlog(wait, l.name)
		if err == nil && waiting == 0 { // when unknown, assume that one waits
			p.send(ctx, event{do: l.nothing})
		}
		return nil
	})
}

// nothing notes that the lane is empty.
func (l *lane) nothing() {
	l.want, l.more, l.retry, l.passed = false, false, false, time.Time{}
}

// request requests n jobs of a lane.
func (p *Puller) request(l *lane, n int, now time.Time) {
	query := fmt.Appendf(nil, `{"batch":%d,"no_wait":true}`, n)
	if l.retry {
		n = 1
		query = fmt.Appendf(nil, `{"batch":1,"no_wait":true,"expires":%d}`, linger.Nanoseconds())
	}
	rung := l.rung
	l.announced = 0
	if rung > l.seen && !l.retry {
		l.announced = rung
	}
	l.want, l.more, l.retry, l.passed = false, false, false, time.Time{}
	l.known, l.yields = 0, time.Time{}
	l.seen = max(l.seen, rung)
	l.out, l.each, l.asked = n, l.slots, now
	p.reserved += n * l.each
	err := p.c.PublishRequest(l.next, l.box.sub.Subject, query)
	if err != nil {
		p.finished(l)
		l.want = true
	}
}

// finished ends a lane's request, which delivers no more.
func (p *Puller) finished(l *lane) {
	p.reserved -= l.out * l.each
	l.out = 0
}

// status handles the end of a request that delivered fewer jobs than requested.
func (p *Puller) status(ctx context.Context, box *inbox, code, text string) {
	l := box.lane
	if l == nil {
		return
	}
	p.finished(l)
	switch {
	case code == "404", code == "408":
		p.answered(box)
		l.more = false
		l.waiting.Forget(l.seen)
		l.retry = l.announced > 0 // another worker has the job, or the consumer does not know of it yet
		l.announced = 0
	case code == "503", code == "409" && strings.Contains(text, "Deleted"):
		p.restore(ctx, l)
	default:
		p.c.Logger().Warn("NATS refuses a request for jobs", "url", p.c.URL(), "lane", l.name, "status", code, "text", text)
	}
}

// restore waits until an orchestrator has created the lane's missing consumer again.
func (p *Puller) restore(ctx context.Context, l *lane) {
	l.silenced = true
	p.c.WarnOnce("lane "+string(l.name), "a lane has no consumer: waiting for an orchestrator to create it", "url", p.c.URL(), "lane", l.name)
	p.work.Go(func() error {
		if pause.For(ctx, scanEvery) == nil {
			p.send(ctx, event{do: func() {
				l.silenced = false
				p.onRecreated(ctx)
			}})
		}
		return nil
	})
}
