package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"

	"github.com/nats-io/nats.go"
)

// ErrInsecure says that a server is there, and that one of the two does not
// trust the other, or does not speak TLS.
var ErrInsecure = errors.New("no TLS connection")

// insecureTries is how often in a row a first connection may come to nothing
// for want of TLS before it is given up. More than one, since a connection
// that is cut in a bad moment looks the same.
const insecureTries = 3

// insecure reports whether a connection failed for what TLS is for: who does
// not trust whom, or who speaks it at all. It fails again however often it is
// tried, until somebody changes a configuration or a certificate.
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
