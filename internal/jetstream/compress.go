package jetstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/wire"
)

const (
	headerEncoding = "Mp-Encoding" // "zstd", or absent
	encodingZstd   = "zstd"
)

const (
	// compressAbove is the size from which a body is compressed.
	compressAbove = 1 << 10
	// mostInOneStep is the largest result that is decompressed in one step.
	mostInOneStep = 1 << 20
	// longWindow is how far back a long message may refer, in bytes.
	longWindow = 8 << 20
)

// One coder serves the process: both are safe for concurrent use.
var (
	encoder = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1<<20))
	})
	decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(mostInOneStep), zstd.WithDecoderLowmem(true))
	})
)

// Compress compresses the body of a message if that makes it shorter. A short body
// stays as it is.
func Compress(m *nats.Msg) error {
	if len(m.Data) <= compressAbove {
		return nil
	}
	enc, err := encoder()
	if err != nil {
		return fmt.Errorf("set up zstd: %w", err)
	}
	short := enc.EncodeAll(m.Data, make([]byte, 0, len(m.Data)/2))
	if len(short) < len(m.Data) {
		m.Data = short
		SetHeader(m, headerEncoding, encodingZstd)
	}
	return nil
}

// Decompress returns the body of a message, whose data is given, in at most most
// bytes. It returns wire.ErrMalformed, also with ErrTooLarge, or wire.ErrNewer.
func Decompress(m *nats.Msg, data []byte, most int) ([]byte, error) {
	encoding := ""
	if m.Header != nil {
		encoding = m.Header.Get(headerEncoding)
	}
	switch encoding {
	case "":
		return data, nil
	case encodingZstd:
		body, err := inflate(data, most)
		if exceeds(err) || len(body) > most {
			return nil, fmt.Errorf("%w: %w: it decompresses to more than %d bytes", wire.ErrMalformed, ErrTooLarge, most)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: decompress: %w", wire.ErrMalformed, err)
		}
		return body, nil
	}
	return nil, fmt.Errorf("%w: it is encoded as %.100q", wire.ErrNewer, encoding)
}

// inflate decompresses short results in one step, as nearly all are, and longer
// ones piece by piece: in one step the decoder would allocate as many bytes as the
// header claims.
func inflate(data []byte, most int) ([]byte, error) {
	dec, err := decoder()
	if err != nil {
		return nil, fmt.Errorf("set up zstd: %w", err)
	}
	body, err := dec.DecodeAll(data, nil)
	if !exceeds(err) || most <= mostInOneStep {
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
