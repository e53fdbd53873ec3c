package natstest

import (
	"bytes"
	"testing"

	"github.com/modpipe/modpipe/internal/signing"
)

// Keys is a keyring with one signing key, the same for every caller that fills it with
// the same byte.
func Keys(t testing.TB, fill byte) *signing.Keyring {
	t.Helper()
	return Must[*signing.Keyring](t)(signing.NewKeyring(bytes.Repeat([]byte{fill}, signing.Size)))
}
