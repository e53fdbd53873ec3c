package cli

import (
	"github.com/nats-io/jsm.go/natscontext"
	"github.com/nats-io/nats.go"
)

// contextOptions lays settings over a context of the nats CLI, with the nats
// CLI's own library.
func (a *app) contextOptions(s *connection) (server string, options []nats.Option, err error) {
	nc, err := natscontext.New(s.context, s.context != "",
		natscontext.WithServerURL(s.server), natscontext.WithCreds(s.creds), natscontext.WithNKey(s.nkey),
		natscontext.WithCA(s.tlsCA), natscontext.WithCertificate(s.tlsCert), natscontext.WithKey(s.tlsKey))
	if err != nil {
		return "", nil, usageError("--context%s: %w", a.bind.fromOf("context"), err)
	}
	if options, err = nc.NATSOptions(); err != nil {
		return "", nil, usageError("NATS credentials: %w", err)
	}
	return nc.ServerURL(), options, nil
}
