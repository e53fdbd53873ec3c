package connect

import (
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// named returns the option of a user whose credentials have a name.
func named(t *testing.T, name string) nats.Option {
	t.Helper()
	account, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := user.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	claims := jwt.NewUserClaims(public)
	claims.Name = name
	token, err := claims.Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	return nats.UserJWT(func() (string, error) { return token, nil }, user.Sign)
}

// TestInboxOfAUser: of the user in the URL, of credentials with a name, and of a worker
// with a token; else that of everyone.
func TestInboxOfAUser(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want   string
		url    string
		worker bool
		option nats.Option
	}{
		{want: "_INBOX", url: "nats://host"},
		{want: "_INBOX", url: "nats://token@host"},
		{want: "_INBOX_worker", url: "nats://token@host", worker: true},
		{want: "_INBOX_worker", url: "nats://host", worker: true},
		{want: "_INBOX_worker-ci", url: "nats://worker-ci:x@host,nats://worker-ci:x@other", worker: true},
		{want: "_INBOX_ann", url: "nats://host", option: nats.UserInfo("ann", "x")},
		{want: "_INBOX", url: "nats://ann.lee:x@host"},
		{want: "_INBOX_one", url: "nats://host", worker: true, option: named(t, "one")},
		{want: "_INBOX", url: "nats://host", worker: true, option: nats.Nkey("UABC", nil)},
	} {
		target := Target{URL: c.url}
		if c.option != nil {
			target.Options = append(target.Options, c.option)
		}
		if got := (&Dialer{Worker: c.worker}).inbox(target); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}
