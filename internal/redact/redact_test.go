package redact_test

import (
	"testing"

	"github.com/modpipe/modpipe/internal/redact"
)

func TestURLsHaveNoSecrets(t *testing.T) {
	for in, want := range map[string]string{
		"":                                       "",
		"nats://me:secret@prod:4222":             "nats://prod:4222",
		"nats://token@a:1, tls://b:2":            "nats://a:1,tls://b:2",
		"prod":                                   "nats://prod",
		"me:secret@prod:4222":                    "nats://prod:4222",
		"nats://me:sec%ret@prod:4222":            "nats://…",
		"nats://me:1/secret@prod:4222":           "nats://…",
		"nats://prod:4222#secret":                "nats://prod:4222",
		"wss://x.example/nats?jwt=eyJhbGciOiJFZ": "wss://x.example/nats",
	} {
		if got := redact.URLs(in); got != want {
			t.Errorf("%s: %s, not %s", in, got, want)
		}
	}
}
