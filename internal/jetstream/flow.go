package jetstream

import (
	"context"
	"sync"
	"time"
)

// Bounds of a flow's window, and of what one message of a transfer holds.
const (
	leastWindow = 64 << 10
	firstWindow = 128 << 10
	mostWindow  = 8 << 20

	queueDelay  = 500 * time.Millisecond // of data beyond what the link itself holds: the server may be as late
	mostDelay   = time.Second            // of data in all
	messageTime = 250 * time.Millisecond // on the link, of one message
	flowRounds  = 4                      // that a rate is remembered for
)

// flow bounds the bytes that are on their way by what the link has carried
// lately: by its rate, times a short time. So the window grows while data
// arrives, and a slow link never holds many seconds of data. What is sent is on
// its way until it is acknowledged; what a reader has asked for, until it
// arrives (ahead.go).
//
// The rate is the best of the last rounds. A round is as long as a parcel is on
// its way; one in which the window was not used up shows nothing about the
// link, and lowers nothing.
type flow struct {
	leastSize, mostSize int           // of the window
	ahead               time.Duration // on the link, of what is on its way; 0 = as the acknowledgements allow

	mu        sync.Mutex
	window    int
	out       int             // bytes that are on their way
	waiting   []chan struct{} // senders that wait, in order
	delivered int64           // bytes in all
	roundEnd  int64
	limited   bool // the window delayed a send in this round
	best      [flowRounds]float64
	least     time.Duration // that an acknowledgement took lately; 0 = not known
	leastAt   time.Time
}

func newFlow() *flow {
	return &flow{leastSize: leastWindow, mostSize: mostWindow, window: firstWindow}
}

// parcel is what was sent, or asked for, within a flow. The flow's mutex guards
// it.
type parcel struct {
	open      int // bytes that are on their way
	sent      time.Time
	delivered int64     // by the flow before it was sent
	last      time.Time // when something of it arrived
	ended     bool
}

// begin waits until the window has room for so many bytes, in the order of the
// calls. What is larger than the window goes alone.
func (f *flow) begin(ctx context.Context, bytes int) (*parcel, error) {
	f.mu.Lock()
	if len(f.waiting) > 0 || !f.fits(bytes) {
		f.limited = true
		turn := make(chan struct{}, 1)
		f.waiting = append(f.waiting, turn)
		for f.waiting[0] != turn || !f.fits(bytes) {
			f.mu.Unlock()
			select {
			case <-turn:
			case <-ctx.Done():
				f.leave(turn)
				return nil, context.Cause(ctx)
			}
			f.mu.Lock()
		}
		f.waiting = f.waiting[1:]
	}
	f.out += bytes
	p := &parcel{open: bytes, sent: time.Now(), delivered: f.delivered}
	f.next()
	f.mu.Unlock()
	return p, nil
}

func (f *flow) fits(bytes int) bool { return f.out == 0 || f.out+bytes <= f.window }

// next wakes the first that waits. The caller holds mu.
func (f *flow) next() {
	if len(f.waiting) == 0 {
		return
	}
	select {
	case f.waiting[0] <- struct{}{}:
	default: // it is awake
	}
}

func (f *flow) leave(turn chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, w := range f.waiting {
		if w == turn {
			f.waiting = append(f.waiting[:i], f.waiting[i+1:]...)
			break
		}
	}
	f.next()
}

// end takes a parcel out of the window; acked = the link has carried it.
func (f *flow) end(p *parcel, acked bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if acked {
		f.receive(p, p.open)
	}
	f.settle(p)
}

// arrived takes so many bytes of a parcel out of the window.
func (f *flow) arrived(p *parcel, bytes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.receive(p, bytes)
	f.next()
}

// receive notes that the link has carried something. The caller holds mu.
func (f *flow) receive(p *parcel, bytes int) {
	n := min(bytes, p.open)
	p.open -= n
	f.out -= n
	f.delivered += int64(bytes)
	p.last = time.Now()
}

// settle ends a parcel, once, and learns from what has arrived of it. The
// caller holds mu.
func (f *flow) settle(p *parcel) {
	if p.ended {
		return
	}
	p.ended = true
	f.out -= p.open
	p.open = 0
	if !p.last.IsZero() {
		f.carried(p, p.last)
	}
	f.next()
}

// carried learns from a parcel. The caller holds mu.
func (f *flow) carried(p *parcel, now time.Time) {
	took := max(now.Sub(p.sent), time.Microsecond)
	if f.least == 0 || took <= f.least || now.Sub(f.leastAt) > 10*time.Second {
		f.least, f.leastAt = took, now
	}
	f.best[0] = max(f.best[0], float64(f.delivered-p.delivered)/took.Seconds())
	f.window = f.size()
	if p.delivered < f.roundEnd {
		return
	}
	f.roundEnd = f.delivered
	if f.limited {
		copy(f.best[1:], f.best[:flowRounds-1])
		f.best[0] = 0
	}
	f.limited = false
}

// rate is in bytes a second; 0 = not known. The caller holds mu.
func (f *flow) rate() float64 {
	rate := 0.0
	for _, r := range f.best {
		rate = max(rate, r)
	}
	return rate
}

func (f *flow) size() int {
	hold := f.ahead
	if hold == 0 {
		hold = min(max(2*f.least, f.least+queueDelay), max(mostDelay, f.least))
	}
	return int(min(max(f.rate()*hold.Seconds(), float64(f.leastSize)), float64(f.mostSize)))
}

// message is how many bytes of a transfer one message should hold.
func (f *flow) message() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return int(min(max(f.rate()*messageTime.Seconds(), 16<<10), mostChunk))
}
