package signing

import (
	"errors"
	"fmt"

	"github.com/nats-io/nkeys"
)

// Box receives what is sealed for it. It is new at every start of a program, and its
// private key never leaves that.
type Box struct {
	pair   nkeys.KeyPair
	public string
}

// NewBox returns a new box.
func NewBox() (*Box, error) {
	pair, err := nkeys.CreateCurveKeys()
	if err != nil {
		return nil, fmt.Errorf("create a curve key: %w", err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("create a curve key: %w", err)
	}
	return &Box{pair, public}, nil
}

// Public is the key for which others seal.
func (b *Box) Public() string { return b.public }

// errSealed does not tell what was wrong: the sender may be an attacker.
var errSealed = errors.New("it is not sealed for this process")

// senderSize is the length of the public key in front of what is sealed.
const senderSize = 56

// Seal encrypts bytes for the owner of a public key, with a sender key of its own in
// front.
func Seal(public string, plain []byte) ([]byte, error) {
	if !nkeys.IsValidPublicCurveKey(public) {
		return nil, fmt.Errorf("%.60q is no public curve key", public)
	}
	sender, err := NewBox()
	if err != nil {
		return nil, err
	}
	sealed, err := sender.pair.Seal(plain, public)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return append([]byte(sender.public), sealed...), nil
}

// Open decrypts what was sealed for this box.
func (b *Box) Open(sealed []byte) ([]byte, error) {
	if len(sealed) <= senderSize || !nkeys.IsValidPublicCurveKey(string(sealed[:senderSize])) {
		return nil, errSealed
	}
	plain, err := b.pair.Open(sealed[senderSize:], string(sealed[:senderSize]))
	if err != nil {
		return nil, errSealed
	}
	return plain, nil
}
