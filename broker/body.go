package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
	blobAbove     = 128 << 10 // so that no single message delays a heartbeat for long on a slow link
	headRoom      = 8 << 10   // of the server's max_payload, for headers
)

// One coder serves the process: both are safe for concurrent use.
var (
	encoder = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1<<20))
	})
	decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(jobs.MaxSmall), zstd.WithDecoderLowmem(true))
	})
)

// longWindow is how far back a long message may refer, in bytes.
const longWindow = 8 << 20

// pack puts a body into a message. It compresses a long body, and stores one that
// is still too long as a blob.
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

// inlineBytes is the largest body that travels in its message.
func (c *Conn) inlineBytes() int {
	return max(min(blobAbove, int(c.nc.MaxPayload())-headRoom), 0)
}

// unpack is the inverse of pack. It reads and decompresses at most most bytes.
// Permanent errors are unreadable.
func (c *Conn) unpack(ctx context.Context, m *nats.Msg, most int) ([]byte, error) {
	if m.Header == nil {
		return m.Data, nil
	}
	data := m.Data
	if digest := m.Header.Get(headerBlob); digest != "" {
		var err error
		if data, err = c.blob(ctx, digest, most); err != nil {
			return nil, err
		}
	}
	return decompress(m.Header.Get(headerEncoding), data, most)
}

// decompress decodes at most most bytes. It returns jobs.ErrMalformed, also with
// ErrTooLarge, or jobs.ErrNewer.
func decompress(encoding string, data []byte, most int) ([]byte, error) {
	switch encoding {
	case "":
		return data, nil
	case encodingZstd:
		body, err := inflate(data, most)
		if exceeds(err) || len(body) > most {
			return nil, fmt.Errorf("%w: %w: it decompresses to more than %d bytes", jobs.ErrMalformed, ErrTooLarge, most)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: decompress: %w", jobs.ErrMalformed, err)
		}
		return body, nil
	}
	return nil, fmt.Errorf("%w: it is encoded as %q", jobs.ErrNewer, clip(encoding))
}

// inflate decompresses results of at most jobs.MaxSmall bytes in one step, as
// nearly all are, and longer ones piece by piece: in one step the decoder would
// allocate as many bytes as the header claims.
func inflate(data []byte, most int) ([]byte, error) {
	dec, err := decoder()
	if err != nil {
		return nil, fmt.Errorf("set up zstd: %w", err)
	}
	body, err := dec.DecodeAll(data, nil)
	if !exceeds(err) || most <= jobs.MaxSmall {
		return body, err
	}
	long, err := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(longWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("set up zstd: %w", err)
	}
	defer long.Close()
	return io.ReadAll(io.LimitReader(long, int64(most)+1))
}

// exceeds reports whether zstd refuses data that is, or claims to be, too large for
// the decoder.
func exceeds(err error) bool {
	return errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded)
}

// clip returns the beginning of a foreign text, for a message.
func clip(text string) string {
	if len(text) > 100 {
		return text[:100] + "…"
	}
	return text
}

// unreadable reports whether an error of reading a message is permanent: the
// message is malformed, too large or of a newer version, or its blob is missing.
func unreadable(err error) bool {
	return errors.Is(err, jobs.ErrMalformed) || errors.Is(err, jobs.ErrNewer) || errors.Is(err, ErrTooLarge) || errors.Is(err, ErrNotFound)
}

// byReference reports whether reading m needs the object store.
func byReference(m *nats.Msg) bool { return m.Header != nil && m.Header.Get(headerBlob) != "" }

func set(m *nats.Msg, key, value string) {
	if m.Header == nil {
		m.Header = nats.Header{}
	}
	m.Header[key] = []string{value}
}
