package connect

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/phrase"
)

// refusedAdvice returns the advice for a server that refuses us or that we do not trust.
func (t Target) refusedAdvice(err error) string {
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked), errors.Is(err, nats.ErrAccountAuthExpired):
		return t.credentialsAdvice()
	case errors.Is(err, jetstream.ErrDenied):
		return "the user that we are there lacks that permission: `orchestrator doctor` lists all that are missing"
	}
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.Is(err, errPin):
		return "another server is there, or it has another certificate since: --tls-pin (NATS_TLS_PIN) is in the command with which workers join, which that server prints"
	case errors.As(err, &unknown):
		return "the certificate of the server is signed by no authority that is trusted here: name the one that signed it with --tlsca (NATS_CA),\n" +
			"or the certificate itself with --tls-pin (NATS_TLS_PIN): it is in the command that an embedded server prints"
	case errors.As(err, &host):
		return fmt.Sprintf("the certificate of the server is for %s: connect by such a name, or install a certificate for %s on the server",
			certificateNames(host.Certificate), host.Host)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the certificate of the server is out of date: renew it, or set the clock of this machine"
	case errors.Is(err, nats.ErrSecureConnWanted), errors.As(err, new(tls.RecordHeaderError)):
		return "the server speaks no TLS: leave out tls:// and --tlsca, --tlscert and --tlskey, or install a certificate on the server"
	case strings.Contains(err.Error(), "failed to verify"):
		return "the certificate of the server cannot be verified: is it for servers, and is --tlsca (NATS_CA) the authority that signed it?"
	}
	return t.clientCertificateAdvice()
}

// ReachAdvice returns the advice for a server that cannot be used.
func (t Target) ReachAdvice(err error) string {
	if errors.Is(err, jetstream.ErrDenied) || errors.Is(err, jetstream.ErrRefused) || errors.Is(err, jetstream.ErrInsecure) {
		return t.refusedAdvice(err)
	}
	return "is a server running there, and does the network let us through? --server names another; --server embedded needs none"
}

// clientCertificateAdvice returns the advice for a server that closes the connection
// after it has shown its certificate. Such a server does not always report why.
func (t Target) clientCertificateAdvice() string {
	o := t.applied()
	if o.TLSCertCB == nil {
		return "the server wants to see a certificate of ours: --tlscert and --tlskey (NATS_CERT, NATS_KEY) name it and its key"
	}
	if cert, err := o.TLSCertCB(); err == nil && cert.Leaf != nil && cert.Leaf.NotAfter.Before(time.Now()) {
		return fmt.Sprintf("our certificate (--tlscert) is out of date since %s: renew it", cert.Leaf.NotAfter.Local().Format(time.DateTime))
	}
	return "the server does not accept our certificate (--tlscert): is it for clients, and signed by an authority that the server trusts?"
}

// credentialsAdvice returns the advice for a server that refuses our credentials.
func (t Target) credentialsAdvice() string {
	o := t.applied()
	switch {
	case o.UserJWT != nil:
		if text, err := o.UserJWT(); err == nil {
			if claims, err := jwt.DecodeUserClaims(text); err == nil && claims.Expires > 0 && claims.Expires < time.Now().Unix() {
				return fmt.Sprintf("the credentials (--creds) are out of date since %s: get new ones from the operator of NATS",
					time.Unix(claims.Expires, 0).Format(time.DateTime))
			}
		}
	case o.Nkey == "" && o.User == "" && o.Token == "" && !strings.Contains(t.URL, "@"):
		return "it requires credentials, and none were given: --creds, --nkey, --token-file, --context, a user and password in the URL of --server,\n" +
			"or a variable (NATS_CREDS, NATS_NKEY, NATS_TOKEN) says so"
	}
	return "check the credentials: is it this server, and this account, that they are for?"
}

// applied returns connection options with the target's options applied.
func (t Target) applied() nats.Options {
	o := nats.Options{}
	for _, option := range t.Options {
		_ = option(&o) // Target has checked them
	}
	return o
}

// checkOptions finds faults in the content of files, without a connection.
func checkOptions(options []nats.Option) error {
	o := nats.Options{}
	for _, option := range options {
		if err := option(&o); err != nil {
			return err
		}
	}
	if o.UserJWT != nil {
		if _, err := o.UserJWT(); err != nil {
			return fmt.Errorf("the credentials of the user: %w", err)
		}
		if o.SignatureCB != nil {
			if _, err := o.SignatureCB([]byte("nonce")); err != nil {
				return fmt.Errorf("the key in the credentials of the user: %w", err)
			}
		}
	}
	return nil
}

// certificateNames returns the names that a certificate is for.
func certificateNames(c *x509.Certificate) string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "no name at all"
	}
	return phrase.Few(names, 5)
}
