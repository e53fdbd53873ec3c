package jobs

import (
	"bytes"
	"fmt"

	"github.com/modpipe/modpipe/internal/wire"
)

// MaxOutputs is how many bytes the outputs of one attempt may have, encoded.
const MaxOutputs = wire.MaxResult

// MarshalOutputs encodes outputs, the same bytes for the same outputs: their
// digest names them.
func MarshalOutputs(values map[string]string) ([]byte, error) {
	var buf bytes.Buffer
	buf.Grow(outputsSize(values))
	buf.WriteByte(Version)
	if err := encode(&buf, &values, true); err != nil {
		return nil, fmt.Errorf("encode outputs: %w", err)
	}
	return buf.Bytes(), nil
}

// UnmarshalOutputs is the inverse. ErrNewer, ErrMalformed.
func UnmarshalOutputs(data []byte) (map[string]string, error) {
	if len(data) > MaxOutputs {
		return nil, fmt.Errorf("decode outputs: %w: %d bytes, more than %d", ErrMalformed, len(data), MaxOutputs)
	}
	body, err := body(data)
	if err != nil {
		return nil, fmt.Errorf("decode outputs: %w", err)
	}
	var values map[string]string
	if err := decode(body, &values, MaxOutputs); err != nil {
		return nil, fmt.Errorf("decode outputs: %w", err)
	}
	return values, nil
}

func outputsSize(values map[string]string) int {
	n := 8
	for k, v := range values {
		n += len(k) + len(v) + 10
	}
	return n
}
