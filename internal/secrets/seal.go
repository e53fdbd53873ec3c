package secrets

import (
	"fmt"

	"github.com/nats-io/nkeys"

	"github.com/modpipe/modpipe/internal/wire"
)

// Key opens what was sealed for one delivery of a job.
type Key struct {
	pair   nkeys.KeyPair
	public string
}

// NewKey returns a new key.
func NewKey() (*Key, error) {
	pair, err := nkeys.CreateCurveKeys()
	if err != nil {
		return nil, fmt.Errorf("make a key for secrets: %w", err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("make a key for secrets: %w", err)
	}
	return &Key{pair, public}, nil
}

// Public is the half that everybody may know, an xkey.
func (k *Key) Public() string { return k.public }

// Open returns the values that sender has sealed to the key.
func (k *Key) Open(sealed []byte, sender string) (values map[string]string, err error) {
	data, err := k.pair.Open(sealed, sender)
	if err != nil {
		return nil, fmt.Errorf("open secrets: %w", err)
	}
	return values, wire.Decode(data, &values)
}

// Seal encrypts values to a public key, with a new key of the sender, whose public
// half it returns.
func Seal(values map[string]string, to string) (sealed []byte, sender string, err error) {
	from, err := NewKey()
	if err != nil {
		return nil, "", err
	}
	defer from.pair.Wipe()
	data, err := wire.Encode(values)
	if err != nil {
		return nil, "", err
	}
	if sealed, err = from.pair.Seal(data, to); err != nil {
		return nil, "", fmt.Errorf("seal secrets: %w", err)
	}
	return sealed, from.public, nil
}
