package jetstream

import (
	"cmp"
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// A server sends a reader megabytes ahead, and closes a connection that does
// not carry within ten seconds what it has sent. So a reader over a link asks
// for what the link carries in a few seconds, and then for more. All readers of
// a connection share that, and wait for their turns. A reader that has caught
// up with a writer asks for no more than it writes: it has no bound.

const (
	aheadTime  = 4 * time.Second // on the link, of what all readers have asked for
	aheadFirst = 512 << 10       // bytes, while the rate is not known, and at least
	aheadMost  = 32 << 20        // bytes: the server itself sends no more ahead
	aheadLeast = 2               // messages, of one reader

	usualLength = 32 << 10 // bytes of a message, while none is known
	leastLength = 256      // bytes of a message, whatever is claimed
	mostLength  = 1 << 20
	spareCount  = 4        // messages of the server's own among those of a reader
	moreCount   = 8        // times as many messages as last time, while their length is not certain
	mostCount   = 16 << 10 // messages that a reader asks for
)

// errAhead ends a reading that has received what it asked for; the next one
// continues.
var errAhead = errors.New("what was asked for has arrived")

// intake bounds what all readers of a connection have asked for and not
// received.
type intake struct {
	*flow

	readers atomic.Int32 // with a request, or waiting for their turns
}

func newIntake() *intake {
	return &intake{flow: &flow{leastSize: aheadFirst, mostSize: aheadMost, ahead: aheadTime, window: aheadFirst}}
}

// request bounds one reading. A nil request is no bound.
type request struct {
	link   *intake
	parcel *parcel
	count  int // messages
	bytes  int
	left   atomic.Bool
}

// ask waits for a reader's turn to ask for messages of a source.
func (i *intake) ask(ctx context.Context, src *Source) (*request, error) {
	readers := i.readers.Add(1)
	bytes, count := src.want(i.share(int(readers)))
	p, err := i.begin(ctx, bytes)
	if err != nil {
		i.readers.Add(-1)
		return nil, err
	}
	return &request{link: i, parcel: p, count: count, bytes: bytes}, nil
}

// share returns how many bytes each of so many readers may ask for.
func (i *intake) share(readers int) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.window / readers
}

// want returns how many messages of a source to ask for, and how many bytes they
// have, about.
func (s *Source) want(bytes int) (about, count int) {
	length := min(max(cmp.Or(s.MessageBytes, usualLength), leastLength), mostLength)
	count = min(max(bytes/length, aheadLeast), mostCount)
	switch {
	case s.Bytes > 0: // the length is certain, too
		left := (s.Bytes + length - 1) / length
		return min(count, left) * length, min(count, left+spareCount)
	case s.count > 0:
		count = min(count, moreCount*s.count)
	}
	return count * length, count
}

// arrived notes a message as soon as it arrives. After the last one that the
// stream holds, nothing is on its way.
func (q *request) arrived(m *nats.Msg) {
	if q == nil {
		return
	}
	q.link.arrived(q.parcel, m.Size())
	if meta, err := m.Metadata(); err == nil && meta.NumPending == 0 {
		q.leave()
	}
}

// leave ends the request, of which nothing more is on its way.
func (q *request) leave() {
	if q == nil || q.left.Swap(true) {
		return
	}
	q.link.readers.Add(-1)
	q.link.end(q.parcel, false)
}

// end ends the request when err has ended its reading.
func (q *request) end(err error) {
	if q == nil {
		return
	}
	switch {
	case errors.Is(err, errLost): // perhaps because too much was asked for
		q.link.forget()
	case errors.Is(err, errAhead) && !q.left.Load():
		q.link.full()
	}
	q.leave()
}

// forget forgets what the link has carried.
func (f *flow) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.best[:])
	f.window = f.size()
}

// full notes that a parcel was as large as the window allowed.
func (f *flow) full() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.limited = true
}

// arriving reports whether less has arrived than was asked for.
func (q *request) arriving() bool {
	q.link.mu.Lock()
	defer q.link.mu.Unlock()
	return q.parcel.open > 0
}

// counted counts a message that was handed on, of any kind. A reading ends
// early when its messages are much longer than those before.
func (r *reading) counted(m *nats.Msg) error {
	r.count++
	r.bytes += m.Size()
	if r.asked == nil || r.count < r.asked.count && r.bytes < 2*r.asked.bytes {
		return nil
	}
	r.src.live = r.pending == 0
	r.src.count, r.src.MessageBytes = r.count, r.bytes/r.count
	return errAhead
}
