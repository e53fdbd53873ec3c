package connect

import (
	"net/url"
	"strings"

	"github.com/nats-io/jwt/v2"

	"github.com/modpipe/modpipe/internal/ident"
)

// inbox is the prefix of the inboxes of a target whose settings name none. A user who is
// known by name has inboxes of his own: who may subscribe to those of another user sees
// every answer. A worker with a token has those of the worker's role.
func (d *Dialer) inbox(t Target) string {
	o := t.applied()
	name, anonymous := o.User, o.Nkey == "" && o.UserJWT == nil
	if first, _, _ := strings.Cut(t.URL, ","); name == "" {
		if u, err := url.Parse(first); err == nil && u.User != nil {
			if _, ok := u.User.Password(); ok { // else it is a token
				name = u.User.Username()
			}
		}
	}
	if name == "" && o.UserJWT != nil {
		if token, err := o.UserJWT(); err == nil {
			if claims, err := jwt.DecodeUserClaims(token); err == nil {
				name = claims.Name
			}
		}
	}
	if name == "" && anonymous && d.Worker {
		name = "worker"
	}
	return ident.Inbox(name)
}
