package jetstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"

	"github.com/nats-io/nats.go"
)

// ErrInsecure reports that the server was reached, and that either side does not
// trust the other or does not speak TLS.
var ErrInsecure = errors.New("no TLS connection")

// insecureTries is how often in a row TLS may fail for a first connection before
// the attempts end. It is more than one, because a connection that is cut during
// the handshake fails in the same way.
const insecureTries = 3

// insecure reports whether a connection failed because of TLS: an untrusted
// certificate, or a side that does not speak TLS. A retry does not help until a
// configuration or a certificate changes.
func insecure(err error) bool {
	if errors.Is(err, nats.ErrSecureConnWanted) || errors.Is(err, nats.ErrSecureConnRequired) {
		return true
	}
	var record tls.RecordHeaderError
	var invalid x509.CertificateInvalidError
	var verification *tls.CertificateVerificationError
	var remote *net.OpError
	switch {
	case errors.As(err, &record), errors.As(err, &invalid), errors.As(err, &verification):
		return true
	case errors.As(err, &remote) && remote.Op == "remote error": // an alert of TLS
		return true
	}
	var slow net.Error
	if errors.As(err, &slow) && slow.Timeout() {
		return false
	}
	return errors.Is(err, nats.ErrTLS) // closed after the handshake, which is how a client's certificate is refused
}
