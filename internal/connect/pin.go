package connect

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/store"
)

// errPin reports that a server has shown a certificate other than the pinned one.
var errPin = errors.New("the certificate of the server is not the pinned one")

// fingerprint is the SHA-256 of a certificate, or of its public key.
type fingerprint [sha256.Size]byte

// parsePin reads sha256:HEX; the prefix may be left out, and colons between
// bytes are skipped, as other tools print them.
func parsePin(text string) (f fingerprint, ok bool) {
	text = strings.TrimPrefix(strings.ToLower(strings.TrimSpace(text)), store.PinPrefix)
	b, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
	if err != nil || len(b) != len(f) {
		return f, false
	}
	return fingerprint(b), true
}

// verify accepts the certificate of the server by its fingerprint alone.
func (f fingerprint) verify(cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) > 0 {
		leaf := cs.PeerCertificates[0]
		if sha256.Sum256(leaf.Raw) == f || sha256.Sum256(leaf.RawSubjectPublicKeyInfo) == f {
			return nil
		}
	}
	return &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: errPin}
}

// option returns the option of a connection that requires TLS with the pinned
// certificate.
func (f fingerprint) option(o *nats.Options) error {
	verifyBy(o, f.verify)
	o.Secure = true
	return nil
}

// verifyBy replaces the check of the server's certificate by verify.
func verifyBy(o *nats.Options, verify func(tls.ConnectionState) error) {
	if o.TLSConfig == nil {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	o.TLSConfig.InsecureSkipVerify = true // VerifyConnection does it
	o.TLSConfig.VerifyConnection = verify
}

// verifyAsUsual is the check that TLS does without InsecureSkipVerify.
func verifyAsUsual(cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 {
		return errPin
	}
	options := x509.VerifyOptions{DNSName: cs.ServerName, Intermediates: x509.NewCertPool()}
	for _, c := range cs.PeerCertificates[1:] {
		options.Intermediates.AddCert(c)
	}
	if _, err := cs.PeerCertificates[0].Verify(options); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: cs.PeerCertificates, Err: err}
	}
	return nil
}
