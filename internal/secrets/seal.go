package secrets

import (
	"fmt"

	"github.com/modpipe/modpipe/internal/signing"
	"github.com/modpipe/modpipe/internal/wire"
)

// Seal encrypts the values of an attempt for the owner of a public key.
func Seal(public string, values map[string]string) ([]byte, error) {
	data, err := wire.Encode(values)
	if err != nil {
		return nil, err
	}
	return signing.Seal(public, data)
}

// Open returns the values that were sealed for a box.
func Open(box *signing.Box, sealed []byte) (values map[string]string, err error) {
	data, err := box.Open(sealed)
	if err != nil {
		return nil, fmt.Errorf("open secrets: %w", err)
	}
	return values, wire.Decode(data, &values)
}
