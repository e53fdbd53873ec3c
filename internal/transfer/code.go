package transfer

import (
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/modpipe/modpipe/internal/content"
)

const (
	// mostList bounds the list of one section, in bytes: paths may be long.
	mostList = 64 << 20
	// parallel is how many packs are read, coded and sent at the same time.
	parallel = 4
)

// One coder serves the process: both are safe for concurrent use.
var (
	encoder = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(parallel),
			zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1<<20))
	})
	decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderConcurrency(parallel), zstd.WithDecoderMaxMemory(mostList), zstd.WithDecoderLowmem(true))
	})
)

// compress appends the compressed data to b.
func compress(b, data []byte) ([]byte, error) {
	enc, err := encoder()
	if err != nil {
		return nil, fmt.Errorf("set up zstd: %w", err)
	}
	return enc.EncodeAll(data, b), nil
}

// expand decompresses exactly size bytes into b, or reports damage.
func expand(b, data []byte, size int64) ([]byte, error) {
	dec, err := decoder()
	if err != nil {
		return nil, fmt.Errorf("set up zstd: %w", err)
	}
	var h zstd.Header
	if err := h.Decode(data); err != nil || h.HasFCS && h.FrameContentSize != uint64(size) || !h.HasFCS && size >= 256 { //nolint:gosec // not negative
		return nil, errors.Join(fmt.Errorf("%w: it does not hold %d bytes", content.ErrDamaged, size), err)
	}
	if int64(cap(b)) < size {
		b = make([]byte, 0, size)
	}
	out, err := dec.DecodeAll(data, b[:0])
	if err != nil || int64(len(out)) != size {
		return nil, errors.Join(fmt.Errorf("%w: it does not hold %d bytes", content.ErrDamaged, size), err)
	}
	return out, nil
}

// limitOf is how long the compressed form of so many bytes can be.
func limitOf(size int64) int { return int(size + size>>8 + 1<<10) }
