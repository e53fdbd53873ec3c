package jetstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// resumeWithin is how long a chunk can be sent again: the server recognises
// duplicates for two minutes.
const resumeWithin = 90 * time.Second

// Bounds of the size of a chunk. A long one costs the server less, and is cut on fast
// links only: see flow.message. A reader on a slow link waits for one as long as it takes
// (call.go).
const (
	mostChunk  = 512 << 10
	leastChunk = 1 << 10
	// headRoom is what a message leaves of the server's max_payload, for headers.
	headRoom = 8 << 10
)

// Upload stores size bytes of r, from its start, in messages on one subject, in
// order, and returns when all are acknowledged: their number, and the size of each
// but the last. It holds no more than one chunk in memory, besides what the window
// of the link allows.
//
// It continues as long as acknowledgements arrive, however slow the link is, and
// resumes after a broken connection at the first chunk that was not acknowledged.
// An error that Transient reports may have stored a part: the next upload needs
// another subject.
func (c *Conn) Upload(ctx context.Context, subject string, r io.ReadSeeker, size int64) (chunks, each int, err error) {
	if err := c.pinned(ctx); err != nil {
		return 0, 0, err
	}
	d := c.carrier(ctx)
	each = d.chunkBytes()
	total := int((size + int64(each) - 1) / int64(each))
	u := &upload{c: d, subject: subject, r: r, size: size, each: each, total: total, ended: make(chan chunkEnd, total)} // so that no answer blocks
	for u.stored < total {
		if err := u.connected(ctx); err != nil {
			return 0, 0, err
		}
		if err := u.send(ctx); err != nil {
			return 0, 0, err
		}
	}
	return total, each, nil
}

// chunkBytes is the size of one chunk: the bytes that the link carries in a short
// time, limited by the server's maximum.
func (c *Conn) chunkBytes() int {
	return int(min(int64(c.flow.message()), max(c.nc.MaxPayload()-headRoom, leastChunk)))
}

// upload is one Upload.
type upload struct {
	c       *Conn
	subject string
	r       io.ReadSeeker
	size    int64
	each    int
	total   int
	next    int           // chunk to send
	stored  int           // chunks that are stored, in order
	oldest  time.Time     // when the oldest chunk that may be stored was first sent
	ended   chan chunkEnd // answers for the chunks that were sent
	out     int
	buffer  []byte // the chunk to send; the client copies it
}

// chunkEnd is the answer for one chunk.
type chunkEnd struct {
	chunk int
	err   error
}

// connected waits for the connection, as long as the server recognises duplicates.
func (u *upload) connected(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, resumeWithin)
	defer cancel()
	return u.c.link.await(ctx)
}

// send sends the remaining chunks. It returns nil when all are stored, and also
// when the connection is lost and the rest can be sent again.
func (u *upload) send(ctx context.Context) error {
	u.next = u.stored
	if u.oldest.IsZero() {
		u.oldest = time.Now()
	}
	if _, err := u.r.Seek(int64(u.next)*int64(u.each), io.SeekStart); err != nil {
		return err
	}
	failed := u.sendAll(ctx)
	for u.out > 0 && ctx.Err() == nil {
		select {
		case a := <-u.ended:
			if err := u.answered(a); failed == nil || errors.Is(err, errHole) {
				failed = err
			}
		case <-ctx.Done(): // the answers have room
		}
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case failed == nil:
		return nil
	case errors.Is(failed, errLost) && time.Since(u.oldest) < resumeWithin:
		return nil
	case errors.Is(failed, ErrNoAnswer):
		return fmt.Errorf("the transfer has stalled, %d of %d bytes are stored: %w", int64(u.stored)*int64(u.each), u.size, failed)
	}
	return failed
}

// sendAll sends chunks until one fails.
func (u *upload) sendAll(ctx context.Context) (failed error) {
	for u.next < u.total && failed == nil {
		failed = u.sendNext(ctx)
		for failed == nil && len(u.ended) > 0 {
			failed = u.answered(<-u.ended)
		}
	}
	return failed
}

// sendNext sends the next chunk when the window has room for it.
func (u *upload) sendNext(ctx context.Context) error {
	if u.buffer == nil {
		u.buffer = make([]byte, u.each)
	}
	chunk := u.buffer[:min(int64(u.each), u.size-int64(u.next)*int64(u.each))]
	if _, err := io.ReadFull(u.r, chunk); err != nil {
		return fmt.Errorf("read the value to store: %w", err)
	}
	parcel, err := u.c.flow.begin(ctx, len(chunk))
	if err != nil {
		return err
	}
	n := u.next
	u.next++
	u.out++
	m := &nats.Msg{Subject: u.subject, Data: chunk}
	SetHeader(m, nats.MsgIdHdr, u.subject+"."+strconv.Itoa(n))
	u.c.calls.send(m, func(m *nats.Msg, err error) {
		u.c.flow.end(parcel, err == nil)
		if err == nil {
			_, err = stored(m.Data)
		}
		u.ended <- chunkEnd{n, err}
	})
	return nil
}

// errHole reports that a later chunk was stored before a missing one, so that the
// order is wrong.
var errHole = errors.New("the server has stored a later part, and not this one")

func (u *upload) answered(a chunkEnd) error {
	u.out--
	switch {
	case a.err != nil:
		return a.err
	case a.chunk != u.stored:
		return errHole
	}
	u.stored++
	u.oldest = time.Now()
	return nil
}
