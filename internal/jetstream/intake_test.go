package jetstream

import (
	"context"
	"testing"
	"time"
)

const testLength = 128 << 10

// ask asks for a long value, and must not have to wait.
func ask(t *testing.T, link *intake) *request {
	t.Helper()
	q, err := link.ask(within(t), &Source{MessageBytes: testLength, Bytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// TestReadersShareTheWindow: together they have asked for no more than the link
// carries in a short time, and each asks when others have received.
func TestReadersShareTheWindow(t *testing.T) {
	link := newIntake()
	first := ask(t, link)
	if first.bytes != aheadFirst {
		t.Errorf("over an unknown link a reader asks for %d bytes, want %d", first.bytes, aheadFirst)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waits := make(chan *request)
	go func() {
		q, err := link.ask(ctx, &Source{MessageBytes: testLength, Bytes: 1 << 30})
		if err == nil {
			t.Errorf("the second of two readers asks for %d bytes while nothing has arrived", q.bytes)
		}
		waits <- nil
	}()
	cancel()
	<-waits
	go func() {
		q, err := link.ask(within(t), &Source{MessageBytes: testLength, Bytes: 1 << 30})
		if err != nil {
			t.Error(err)
		}
		waits <- q
	}()
	link.arrived(first.parcel, first.bytes/2)
	second := <-waits
	if second.bytes != aheadFirst/2 {
		t.Errorf("the second of two readers asks for %d bytes, want %d", second.bytes, aheadFirst/2)
	}
	first.end(nil)
	second.end(nil)
	if link.out != 0 || link.readers.Load() != 0 {
		t.Errorf("afterwards %d bytes are on their way for %d readers", link.out, link.readers.Load())
	}
}

func TestReaderRequestsWhatTheLinkHasCarried(t *testing.T) {
	link := newIntake()
	const rate = 1_250_000
	carry := func(q *request, err error) {
		q.parcel.sent = time.Now().Add(-time.Duration(q.bytes) * time.Second / rate)
		link.arrived(q.parcel, q.bytes)
		q.end(err)
	}
	want := int(rate * aheadTime.Seconds())
	near := func(got int) bool { return got > 9*want/10 && got <= want }
	carry(ask(t, link), errAhead)
	q := ask(t, link)
	if !near(q.bytes) {
		t.Errorf("a reader asks for %d bytes, want nearly %d", q.bytes, want)
	}
	q.end(errRestart) // nothing arrived: the known rate stays
	q = ask(t, link)
	if !near(q.bytes) {
		t.Errorf("after a reading without a message, a reader asks for %d bytes, want nearly %d", q.bytes, want)
	}
	q.end(errLost)
	if q = ask(t, link); q.bytes != aheadFirst {
		t.Errorf("after a broken connection a reader asks for %d bytes, want %d", q.bytes, aheadFirst)
	}
	q.end(nil)
}

// TestReaderRequestsNoMoreThanIsLeft: others may use the rest of the window.
func TestReaderRequestsNoMoreThanIsLeft(t *testing.T) {
	link := newIntake()
	short, err := link.ask(within(t), &Source{MessageBytes: testLength, Bytes: testLength + 1})
	if err != nil {
		t.Fatal(err)
	}
	if short.bytes != 2*testLength || short.count < 2 {
		t.Errorf("for what fills one message and a part of another, a reader asks for %d bytes in %d messages", short.bytes, short.count)
	}
	ask(t, link).end(nil)
	short.end(nil)
}

// TestReaderRequestsManyShortMessages: what was short is likely to stay short,
// and what it was once is not certain.
func TestReaderRequestsManyShortMessages(t *testing.T) {
	src := Source{}
	_, first := src.want(aheadFirst)
	if first != aheadFirst/usualLength {
		t.Errorf("a reader asks for %d messages of unknown length", first)
	}
	src.count, src.MessageBytes = first, 300
	if _, count := src.want(aheadFirst); count != moreCount*first {
		t.Errorf("after %d short messages a reader asks for %d", first, count)
	}
	src.count, src.MessageBytes = mostCount, 1
	if _, count := src.want(aheadMost); count != mostCount {
		t.Errorf("a reader asks for %d messages, at most %d have room", count, mostCount)
	}
}
