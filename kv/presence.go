package kv

import "strings"

// servePrefix begins the keys of the leases that serving orchestrators hold of
// their names. No id of a run has a dot.
const servePrefix = "serve."

// PresenceKey is the key of the lease that a serving orchestrator holds of its
// name for as long as it serves.
func PresenceKey(name string) string { return servePrefix + name }

// IsPresence reports whether a key of a lease is that of a serving orchestrator.
func IsPresence(key string) bool { return strings.HasPrefix(key, servePrefix) }
