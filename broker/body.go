package broker

import (
	"context"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/jobs"
)

// Headers of a message's body.
const (
	headerEncoding = "Mp-Encoding" // "zstd", or absent
	headerBlob     = "Mp-Blob"     // the SHA-256 of the body, which is in the object store
	headerRank     = "Mp-Rank"     // of a job: jobs.Rank; the bell of its lane repeats it
	encodingZstd   = "zstd"
)

const (
	compressAbove = 1 << 10
	blobAbove     = 128 << 10 // so that no single message keeps a heartbeat waiting on a slow link
	headRoom      = 8 << 10   // of the server's max_payload, for headers
)

// One coder serves the process: both are safe for concurrent use.
var (
	encoder = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1<<20))
	})
	decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(jobs.MaxMessage), zstd.WithDecoderLowmem(true))
	})
)

// pack makes a message of a body: compressed when it is long, and by
// reference when it is long even so.
func (c *Conn) pack(ctx context.Context, subject string, body []byte, full whenFull) (*nats.Msg, error) {
	m := &nats.Msg{Subject: subject, Data: body}
	if len(body) <= compressAbove {
		return m, nil
	}
	if err := compress(m); err != nil {
		return nil, err
	}
	if len(m.Data) <= c.inlineBytes() {
		return m, nil
	}
	blob, err := c.putBlob(ctx, m.Data, full)
	if err != nil {
		return nil, err
	}
	set(m, headerBlob, blob.SHA256)
	m.Data = nil
	return m, nil
}

func compress(m *nats.Msg) error {
	enc, err := encoder()
	if err != nil {
		return fmt.Errorf("set up zstd: %w", err)
	}
	short := enc.EncodeAll(m.Data, make([]byte, 0, len(m.Data)/2))
	if len(short) < len(m.Data) {
		m.Data = short
		set(m, headerEncoding, encodingZstd)
	}
	return nil
}

// inlineBytes is how long a body may be that travels in its message.
func (c *Conn) inlineBytes() int {
	return max(min(blobAbove, int(c.nc.MaxPayload())-headRoom), 0)
}

// unpack is the inverse of pack.
func (c *Conn) unpack(ctx context.Context, m *nats.Msg) ([]byte, error) {
	if m.Header == nil {
		return m.Data, nil
	}
	data := m.Data
	if digest := m.Header.Get(headerBlob); digest != "" {
		var err error
		if data, err = c.blob(ctx, digest, jobs.MaxMessage); err != nil {
			return nil, err
		}
	}
	return decompress(m.Header.Get(headerEncoding), data)
}

func decompress(encoding string, data []byte) ([]byte, error) {
	switch encoding {
	case "":
		return data, nil
	case encodingZstd:
		dec, err := decoder()
		if err != nil {
			return nil, fmt.Errorf("set up zstd: %w", err)
		}
		body, err := dec.DecodeAll(data, nil)
		if err != nil {
			return nil, fmt.Errorf("%w: decompress: %w", jobs.ErrMalformed, err)
		}
		return body, nil
	}
	return nil, fmt.Errorf("%w: it is encoded as %q", jobs.ErrNewer, encoding)
}

// byReference reports whether reading m needs the object store.
func byReference(m *nats.Msg) bool { return m.Header != nil && m.Header.Get(headerBlob) != "" }

func set(m *nats.Msg, key, value string) {
	if m.Header == nil {
		m.Header = nats.Header{}
	}
	m.Header[key] = []string{value}
}
