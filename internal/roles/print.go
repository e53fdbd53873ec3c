package roles

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
)

// User is a role with the name of its user.
type User struct {
	Name        string      `json:"user"`
	Role        Role        `json:"role"`
	Permissions Permissions `json:"permissions"`
}

// NewUser returns the user of a role; o is valid.
func NewUser(r Role, o Options) User { return User{r.user(o), r, Of(r, o)} }

// password is the variable of the environment in which the server finds the password of
// a user.
func (u User) password() string {
	return "MODPIPE_" + strings.ToUpper(strings.ReplaceAll(u.Name, "-", "_")) + "_PASSWORD"
}

// WriteJSON writes a user as JSON.
func WriteJSON(w io.Writer, u User) error {
	return writeJSON(w, u)
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// WriteConf writes a user as a part of the configuration of a NATS server. The password
// is in the environment of the server.
func WriteConf(w io.Writer, u User) error {
	_, err := io.WriteString(w, u.conf(""))
	return err
}

func (u User) conf(indent string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, indent+format+"\n", args...) }
	list := func(what string, subjects []string) {
		line("    %s: {allow: [", what)
		for _, s := range subjects {
			line("      %q", s)
		}
		line("    ]}")
	}
	line("{")
	line("  user: %q, password: $%s # from the environment of the server", u.Name, u.password())
	line("  permissions: {")
	list("publish", u.Permissions.Publish)
	list("subscribe", u.Permissions.Subscribe)
	line("  }")
	line("}")
	return b.String()
}

// WriteServer writes the configuration of a whole server: TLS, JetStream, and one account
// with users.
func WriteServer(w io.Writer, users []User) error {
	var b strings.Builder
	b.WriteString(`# nats-server -c FILE. An account is a team: who has work of another trust has another account.
listen: "0.0.0.0:4222"
tls: {cert_file: "server-cert.pem", key_file: "server-key.pem"}
jetstream: {store_dir: "jetstream"}
accounts: {
  TEAM: {
    jetstream: enabled
    users: [
`)
	for _, u := range users {
		b.WriteString(u.conf("      "))
	}
	b.WriteString("    ]\n  }\n}\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// SigningKey is a scoped signing key: every user that it signs has the permissions of the
// role, and inboxes below its own name.
type SigningKey struct {
	Seed  string         `json:"seed"`  // secret: for those who create users
	Scope *jwt.UserScope `json:"scope"` // for the signing keys of the account
}

// userName is replaced by the server with the name of the user.
const userName = "{{name()}}"

// NewSigningKey creates a scoped signing key of a role; o is valid.
func NewSigningKey(r Role, o Options) (SigningKey, error) {
	pair, err := nkeys.CreateAccount()
	if err != nil {
		return SigningKey{}, err
	}
	public, err := pair.PublicKey()
	if err != nil {
		return SigningKey{}, err
	}
	seed, err := pair.Seed()
	if err != nil {
		return SigningKey{}, err
	}
	name := r.user(o)
	o.Inbox = "_INBOX_" + userName
	allowed := Of(r, o)
	scope := jwt.NewUserScope()
	scope.Key, scope.Role, scope.Description = public, name, "modpipe "+name
	scope.Template.Pub.Allow, scope.Template.Sub.Allow = allowed.Publish, allowed.Subscribe
	return SigningKey{string(seed), scope}, nil
}

// WriteSigningKey writes a new scoped signing key of a role as JSON; o is valid.
func WriteSigningKey(w io.Writer, r Role, o Options) error {
	key, err := NewSigningKey(r, o)
	if err != nil {
		return fmt.Errorf("create a signing key: %w", err)
	}
	return writeJSON(w, key)
}
