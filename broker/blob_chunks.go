package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// resumeWithin is how long a chunk can be sent again: the server recognises
// duplicates for two minutes.
const resumeWithin = 90 * time.Second

// upload sends the chunks of one blob.
type upload struct {
	c       *Conn
	subject string
	data    []byte
	each    int
	total   int
	next    int           // chunk to send
	stored  int           // chunks that are stored, in order
	oldest  time.Time     // when the oldest chunk that may be stored was first sent
	ended   chan chunkEnd // answers for the chunks that were sent
	out     int
}

// chunkEnd is the answer for one chunk.
type chunkEnd struct {
	chunk int
	err   error
}

// putChunks stores data in order, and returns the number of chunks when all are
// acknowledged. It continues as long as acknowledgements arrive, however slow the
// link is, and resumes after a broken connection at the first chunk that was not
// acknowledged.
func (c *Conn) putChunks(ctx context.Context, subject string, data []byte, each int) (chunks uint32, err error) {
	total := (len(data) + each - 1) / each
	u := &upload{c: c, subject: subject, data: data, each: each, total: total, ended: make(chan chunkEnd, total)} // so that no answer blocks
	for u.stored < total {
		if err := u.connected(ctx); err != nil {
			return 0, err
		}
		if err := u.send(ctx); err != nil {
			return 0, err
		}
	}
	return uint32(total), nil //nolint:gosec // at most MaxOutputs
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
	var failed error
	for u.next < u.total && failed == nil {
		failed = u.one(ctx)
		for failed == nil && len(u.ended) > 0 {
			failed = u.hear(<-u.ended)
		}
	}
	for u.out > 0 && ctx.Err() == nil {
		select {
		case a := <-u.ended:
			if err := u.hear(a); failed == nil || errors.Is(err, errHole) {
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
	case errors.Is(failed, errNoAnswer):
		return fmt.Errorf("the transfer has stalled, %d of %d bytes are stored: %w", u.stored*u.each, len(u.data), failed)
	}
	return failed
}

// one sends the next chunk when the window has room for it.
func (u *upload) one(ctx context.Context) error {
	chunk := u.data[u.next*u.each : min((u.next+1)*u.each, len(u.data))]
	parcel, err := u.c.flow.begin(ctx, len(chunk))
	if err != nil {
		return err
	}
	n := u.next
	u.next++
	u.out++
	m := &nats.Msg{Subject: u.subject, Data: chunk}
	set(m, nats.MsgIdHdr, u.subject+"."+strconv.Itoa(n))
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

func (u *upload) hear(a chunkEnd) error {
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
