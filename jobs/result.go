package jobs

import (
	"fmt"

	"github.com/modpipe/modpipe/internal/wire"
)

// DecodeResult makes of a Go function's result what JSON would make of it.
// ErrMalformed.
func DecodeResult(data []byte) (any, error) {
	if len(data) > MaxOutputs {
		return nil, fmt.Errorf("decode a result: %w: %d bytes, more than %d", ErrMalformed, len(data), MaxOutputs)
	}
	v, err := wire.Plain(data)
	if err != nil {
		return nil, fmt.Errorf("decode a result: %w: %w", ErrMalformed, err)
	}
	return v, nil
}
