// Package natsembed runs a NATS server with JetStream inside this process. It may
// change at any time.
//
// A Server owns a directory, its store, which it locks, because two servers on one
// store destroy it (ErrStoreHeld). Clients of this process connect without a
// network (Server.Options); others connect over TCP, with a token and TLS if the
// configuration has them.
//
// Repair must run beside the server. It restarts the server after its disk was full,
// and ends when the store was removed (ErrStoreGone).
package natsembed
