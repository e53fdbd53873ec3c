package signing_test

import (
	"bytes"
	"testing"

	"github.com/modpipe/modpipe/internal/signing"
)

// TestOnlyTheReceiverOpens what is sealed for its box, and only as it was sealed.
func TestOnlyTheReceiverOpens(t *testing.T) {
	t.Parallel()
	boxes := make([]*signing.Box, 2)
	for i := range boxes {
		var err error
		if boxes[i], err = signing.NewBox(); err != nil {
			t.Fatal(err)
		}
	}
	plain := []byte("the key of an attempt")
	sealed, err := signing.Seal(boxes[0].Public(), plain)
	if err != nil || bytes.Contains(sealed, plain) {
		t.Fatalf("sealed as %q, %v", sealed, err)
	}
	if got, err := boxes[0].Open(sealed); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("opened %q, %v", got, err)
	}
	if _, err := boxes[1].Open(sealed); err == nil {
		t.Error("another box opens it")
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if got, err := boxes[0].Open(bad); err == nil {
			t.Fatalf("a change of byte %d is not noticed: %q", i, got)
		}
		if _, err := boxes[0].Open(sealed[:i]); err == nil {
			t.Fatalf("the first %d bytes open", i)
		}
	}
	for _, public := range []string{"", "X", "no key", string(sealed)} {
		if _, err := signing.Seal(public, plain); err == nil {
			t.Errorf("sealed for %q", public)
		}
	}
}
