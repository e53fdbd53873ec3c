package broker

import (
	"errors"
	"math"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// A server sends a reader megabytes ahead, and ends a connection that does not
// carry within ten seconds what is sent at once. So a reader over a link asks
// for what the link carries in a few seconds, and then for more. A reader that
// has caught up with a writer asks for no more than it writes: it has no bound.

const (
	aheadTime   = 6 * time.Second // of the link, that the server sends ahead
	aheadFirst  = 256 << 10       // bytes, while the rate is not known
	aheadLeast  = 4               // messages
	aheadMost   = 32 << 20        // bytes: the server itself sends no more ahead
	leastTimed  = 64 << 10        // bytes that tell a rate
	usualLength = 32 << 10        // bytes of a message, while none is known
)

// errAhead ends a reading that has all it has asked for; another goes on.
var errAhead = errors.New("what was asked for has arrived")

// intake is what is known of the link by what arrived over it.
type intake struct {
	mu      sync.Mutex
	rate    float64 // bytes a second; 0 = not known
	readers int
}

// enter begins a reading, and returns how many bytes it may ask for; 0 = any
// number. Readers share the link.
func (i *intake) enter() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.readers++
	if i.rate == 0 {
		return aheadFirst
	}
	bytes := i.rate * aheadTime.Seconds() / float64(i.readers)
	if bytes >= aheadMost {
		return 0
	}
	return int(bytes)
}

// leave ends a reading. What it has measured replaces what was known; lost
// says that the connection broke, perhaps because too much was asked for.
func (i *intake) leave(rate float64, lost bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case lost:
		i.rate = 0
	case rate > 0:
		i.rate = rate * float64(i.readers)
	}
	i.readers--
}

// meter counts what arrives for one reading.
type meter struct {
	left    int // messages that are to come; 0 = no bound
	first   time.Time
	bytes   int // after the first message
	count   int
	pending uint64 // messages that were still to come when the newest was sent
}

// limited bounds a reading over a link to some bytes, and has the server keep
// to it.
func (r *reading) limited(sub *nats.Subscription, bytes int) error {
	if bytes == 0 {
		return nil
	}
	if r.src.length == 0 {
		r.src.length = usualLength
	}
	r.meter.left = max(bytes/r.src.length, aheadLeast)
	return sub.AutoUnsubscribe(r.meter.left)
}

// counted takes note of a message, of whatever kind.
func (r *reading) counted(m *nats.Msg) error {
	t := &r.meter
	if t.count++; t.count == 1 {
		t.first = time.Now()
	} else {
		t.bytes += m.Size()
	}
	if t.left > 0 && t.count >= t.left {
		r.src.live = t.pending == 0
		return errAhead
	}
	return nil
}

// rate is how fast messages came, while there were more to come: else they
// came as they were written. 0 = not known.
func (t *meter) rate() float64 {
	if t.bytes < leastTimed || t.pending == 0 {
		return 0
	}
	return float64(t.bytes) / max(time.Since(t.first).Seconds(), math.SmallestNonzeroFloat32)
}
