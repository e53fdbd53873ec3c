package jobs

import (
	"fmt"

	"github.com/modpipe/modpipe/internal/wire"
)

// DecodeResult makes of a Go function's result what JSON would make of it.
// ErrMalformed.
func DecodeResult(data []byte) (any, error) {
	err := check(data)
	if err == nil {
		var v any
		if v, err = wire.Plain(data); err == nil {
			return v, nil
		}
	}
	return nil, fmt.Errorf("decode a result: %w: %w", ErrMalformed, err)
}
