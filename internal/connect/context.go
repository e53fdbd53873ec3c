package connect

import (
	"github.com/nats-io/jsm.go/natscontext"
	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/settings"
)

// contextOptions overrides a context of the nats CLI with settings. It uses the library
// of the nats CLI.
func (d *Dialer) contextOptions(s *settings.Connection) (server, inbox string, options []nats.Option, err error) {
	nc, err := natscontext.New(s.Context, s.Context != "",
		natscontext.WithServerURL(s.Server), natscontext.WithCreds(s.Creds), natscontext.WithNKey(s.NKey),
		natscontext.WithCA(s.TLSCA), natscontext.WithCertificate(s.TLSCert), natscontext.WithKey(s.TLSKey), natscontext.WithInboxPrefix(s.InboxPrefix))
	if err != nil {
		return "", "", nil, exit.Usagef("--context%s: %w", d.Bind.FromOf("context"), err)
	}
	if options, err = nc.NATSOptions(); err != nil {
		return "", "", nil, exit.Usagef("NATS credentials: %w", err)
	}
	return nc.ServerURL(), nc.InboxPrefix(), options, nil
}
