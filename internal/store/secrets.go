package store

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/modpipe/modpipe/internal/atomicfile"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/ident"
)

// Token returns the secret with which clients join the embedded server and may do
// everything there, and its file. It outlives the run, so that they can keep their
// configuration.
func (s *Dir) Token() (secret, path string, err error) { return s.token("token") }

// WorkerToken is Token for workers, which may do only what their role may.
func (s *Dir) WorkerToken() (secret, path string, err error) { return s.token("worker-token") }

func (s *Dir) token(name string) (secret, path string, err error) {
	path = filepath.Join(s.Path, name)
	text, err := keptSecret(path, func() ([]byte, error) { return []byte(NewToken() + "\n"), nil })
	if err != nil {
		return "", "", exit.Infrastructuref("token of the embedded server: %w", err)
	}
	return strings.TrimSpace(string(text)), path, nil
}

// NewToken returns a new random token.
func NewToken() string {
	b := make([]byte, 24)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// Certificate returns the certificate that the embedded server shows beyond this
// machine, with its fingerprint. It outlives the run, like the token.
func (s *Dir) Certificate() (cert tls.Certificate, pin string, err error) {
	path := filepath.Join(s.Path, "certificate.pem")
	text, err := keptSecret(path, newCertificate)
	if err == nil {
		cert, err = tls.X509KeyPair(text, text)
	}
	if err != nil {
		return tls.Certificate{}, "", exit.Infrastructuref("certificate of the embedded server, %s: %w\nremove the file, and another is created", path, err)
	}
	sum := sha256.Sum256(cert.Certificate[0])
	return cert, PinPrefix + hex.EncodeToString(sum[:]), nil
}

// keptSecret reads a file that only we can read, or creates it.
func keptSecret(path string, create func() ([]byte, error)) ([]byte, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() || !ownedByUs(info) || !onlyForOwner(info):
		return nil, fmt.Errorf("%s must be a regular file of ours with mode 0600, and is %v: others may know it; remove it, and another is created", path, info.Mode())
	default:
		text, err := os.ReadFile(path)
		if err != nil || strings.TrimSpace(string(text)) != "" {
			return text, err
		}
	}
	text, err := create()
	if err != nil {
		return nil, err
	}
	return text, atomicfile.Write(path, text, 0o600)
}

// certificateLife is long: clients know the certificate itself, not its issuer.
const certificateLife = 20 * 365 * 24 * time.Hour

// newCertificate returns a self-signed certificate, followed by its key.
func newCertificate() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	name := ident.Host()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "modpipe on " + name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(certificateLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
		DNSNames: []string{name, "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	return append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...), nil
}

// PinPrefix precedes fingerprints of certificates in output.
const PinPrefix = "sha256:"
