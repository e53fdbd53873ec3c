// Package ident creates random identities, and names of processes by their host.
package ident

import (
	"cmp"
	"crypto/rand"
	"os"
	"strings"
)

// New returns a random identity: 26 letters and digits with at least 128 bits of
// randomness. It can be one token of a subject.
func New() string { return rand.Text() }

// Host is the name of this host; "localhost" when it is unknown.
func Host() string {
	host, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return cmp.Or(host, "localhost")
}

// mostHost is how much of the host's name a process has in its name: with the
// suffix it is at most 64 characters long.
const mostHost = 56

// OnHost returns a name for a process: that of the host, without its domain, and a
// random suffix. It has letters, digits, - and _ alone.
func OnHost() string {
	host, _, _ := strings.Cut(Host(), ".")
	host = strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_':
			return r
		}
		return '-'
	}, host)
	return cmp.Or(host[:min(len(host), mostHost)], "host") + "-" + strings.ToLower(rand.Text()[:6])
}

// Inbox is the prefix of the inboxes of a user of NATS who is known by a name: a prefix of
// its own when the name can be a part of a subject, else that of everyone, "_INBOX".
func Inbox(user string) string {
	if user == "" || len(user) > 64 || strings.Trim(user, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
		return "_INBOX"
	}
	return "_INBOX_" + user
}
