// Package redact removes secrets from the addresses of NATS servers, for
// messages and logs.
package redact

import (
	"net/url"
	"strings"
)

// hidden stands for an address of which no part is known to be harmless.
const hidden = "nats://…"

// URLs removes users, passwords, tokens, queries and fragments from a list of
// addresses that commas separate. An address that cannot be parsed is hidden
// completely: any part of it may belong to a password.
func URLs(addresses string) string {
	if strings.TrimSpace(addresses) == "" {
		return ""
	}
	var shown []string
	for address := range strings.SplitSeq(addresses, ",") {
		shown = append(shown, one(strings.TrimSpace(address)))
	}
	return strings.Join(shown, ",")
}

func one(address string) string {
	if !strings.Contains(address, "://") {
		address = "nats://" + address
	}
	u, err := url.Parse(address)
	if err != nil {
		return hidden
	}
	u.User, u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = nil, "", false, "", ""
	shown := u.String()
	if strings.Contains(shown, "@") { // of a password with a slash
		return hidden
	}
	return shown
}
