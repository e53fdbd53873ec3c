package content

import (
	"context"
	"errors"
	"fmt"

	"github.com/modpipe/modpipe/internal/jetstream"
)

// arrival is a segment on its way. The goroutines that receive its chunks write them
// to their places.
type arrival struct {
	s        Store
	buffer   []byte
	each     int
	subjects []string // of the chunks
	answers  chan answer
}

// ask asks for the chunks of the next segment.
func (r *reader) ask(ctx context.Context) *arrival {
	g := r.entry.Segments[r.read]
	n := int(segmentSize(r.entry.Size, r.read))
	if g.Short > 0 {
		n = g.Short
	}
	a := &arrival{s: r.s, each: g.Chunk, buffer: r.buffer(n)}
	first := chunkNumber(r.entry.Size, r.read, g.Chunk)
	for at := 0; at < n; at += a.each {
		a.subjects = append(a.subjects, r.s.chunkSubject(r.digest, g, first+len(a.subjects)))
	}
	a.answers = make(chan answer, len(a.subjects)) // so that no answer blocks
	for i, subject := range a.subjects {
		r.s.c.Direct(ctx, r.s.stream(), subject, len(a.place(i)), func(m jetstream.Message, err error) {
			if err == nil {
				err = a.fill(i, m)
			}
			a.answers <- answer{request: i, err: err}
		})
	}
	return a
}

// buffer returns a buffer of n bytes.
func (r *reader) buffer(n int) []byte {
	if b := r.spare; cap(b) >= n {
		r.spare = nil
		return b[:n]
	}
	return make([]byte, n)
}

// place is where the bytes of a chunk belong.
func (a *arrival) place(chunk int) []byte {
	return a.buffer[chunk*a.each : min((chunk+1)*a.each, len(a.buffer))]
}

// fill puts a chunk in its place.
func (a *arrival) fill(chunk int, m jetstream.Message) error {
	place := a.place(chunk)
	if len(m.Data) != len(place) {
		return fmt.Errorf("%w: a part has %d bytes instead of %d", ErrDamaged, len(m.Data), len(place))
	}
	copy(place, m.Data)
	return nil
}

// wait waits until the segment is complete. It asks again for what was lost on the
// way, and returns ErrNotFound when a chunk is missing or has a wrong length.
func (a *arrival) wait(ctx context.Context) ([]byte, error) {
	var lost []int
	var failed error
	for range a.subjects {
		select {
		case got := <-a.answers:
			switch {
			case got.err == nil:
			case jetstream.Transient(got.err):
				lost = append(lost, got.request)
			case failed == nil || errors.Is(failed, jetstream.ErrNotFound):
				failed = got.err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if failed == nil && len(lost) > 0 {
		failed = a.again(ctx, lost)
	}
	return a.buffer, failed
}

// again asks for chunks that were lost on the way.
func (a *arrival) again(ctx context.Context, lost []int) error {
	subjects := make([]string, len(lost))
	for i, chunk := range lost {
		subjects[i] = a.subjects[chunk]
	}
	var failed error
	missing := len(lost)
	err := a.s.getEach(ctx, subjects, func(i int) int { return len(a.place(lost[i])) }, func(i int, m jetstream.Message) {
		missing--
		if err := a.fill(lost[i], m); err != nil {
			failed = err
		}
	})
	if err == nil && missing > 0 {
		err = jetstream.ErrNotFound
	}
	return errors.Join(err, failed)
}
