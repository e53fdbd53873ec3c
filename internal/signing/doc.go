// Package signing makes and verifies the codes by which orchestrators recognise the
// messages of workers, and workers those of orchestrators.
//
// # The keys
//
// Orchestrators share a secret, in a file. It never enters NATS. All keys follow from
// it: the key of a run, from that the key of each attempt, and the key of each start
// of a worker. A job carries the key
// of its attempt, so a worker can sign what it writes about that attempt, and about
// no other one. Every orchestrator that has the secret can verify it.
//
// A Keyring may hold several secrets, so that one can be replaced: the first signs
// new runs, all verify. The first takeover in the log of a run names the secret by
// its id, a hash that reveals nothing about it.
//
// # The codes
//
// A code is an HMAC with SHA-256 over the subject of a message, the headers that say
// how to read its body, and the body as it is on the wire. It travels in a header.
package signing
