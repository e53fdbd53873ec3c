package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/topology"
	"github.com/modpipe/modpipe/jobs"
)

// headerBlob is the header of a message whose body is in the object store: the
// SHA-256 of the body.
const headerBlob = "Mp-Blob"

// mostQuoted is how many bytes a message quotes of a text that others wrote.
const mostQuoted = 100

// bodies puts bodies into messages and takes them out.
type bodies struct {
	c     *jetstream.Conn
	store content.Store
}

// pack puts a body into a message. It compresses a long body, and stores one that
// is still too long by its digest.
func (b *bodies) pack(ctx context.Context, subject string, body []byte, full jetstream.FullPolicy) (*nats.Msg, error) {
	m := &nats.Msg{Subject: subject, Data: body}
	if err := jetstream.Compress(m); err != nil {
		return nil, err
	}
	if len(m.Data) <= min(topology.LongestBody, b.c.MaxBody()) {
		return m, nil
	}
	digest, err := b.bodiesOf(subject).WhenFull(full).PutBytes(ctx, m.Data)
	if err != nil {
		return nil, err
	}
	jetstream.SetHeader(m, headerBlob, string(digest))
	m.Data = nil
	return m, nil
}

// bodiesOf is the store of the long bodies of a subject.
func (b *bodies) bodiesOf(subject string) content.Store {
	return b.store.Part(topology.BodyNamespace(subject))
}

// unpack is the inverse of pack. It reads and decompresses at most most bytes.
// Permanent errors are unreadable.
func (b *bodies) unpack(ctx context.Context, m *nats.Msg, most int) ([]byte, error) {
	data := m.Data
	if byReference(m) {
		var err error
		digest := content.Digest(m.Header.Get(headerBlob))
		data, err = b.bodiesOf(m.Subject).Bytes(ctx, digest, most)
		if errors.Is(err, ErrNotFound) { // an earlier version has stored it beside the values
			data, err = b.store.Bytes(ctx, digest, most)
		}
		if err != nil {
			return nil, err
		}
	}
	return jetstream.Decompress(m, data, most)
}

// byReference reports whether reading m needs the object store.
func byReference(m *nats.Msg) bool { return m.Header != nil && m.Header.Get(headerBlob) != "" }

// unreadable reports whether an error of reading a message is permanent: the
// message is malformed, too large or of a newer version, or its blob is missing.
func unreadable(err error) bool {
	return errors.Is(err, jobs.ErrMalformed) || errors.Is(err, jobs.ErrNewer) || errors.Is(err, ErrTooLarge) || errors.Is(err, ErrNotFound)
}

// incomplete replaces ErrNotFound, for a missing blob of a message that exists, by a
// permanent error: ErrNotFound would mean that the message does not exist.
func incomplete(err error) error {
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	return fmt.Errorf("%w: a part of it is missing: %v", jobs.ErrMalformed, err) //nolint:errorlint // see above
}

// ignoreEnd returns nil when ctx has ended, else err.
func ignoreEnd(ctx context.Context, err error) error {
	select {
	case <-ctx.Done():
		return nil
	default:
		return err
	}
}

// deliver sends v unless ctx ends first.
func deliver[T any](ctx context.Context, out chan<- T, v T) error {
	select {
	case out <- v:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
