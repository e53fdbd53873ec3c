// Package connect connects to the NATS server that a program's settings name.
//
// A Dialer turns addresses, credentials, certificates, contexts of the nats CLI
// and pins into a Target, and reports faults in them before anything is dialled.
// On an address of this machine it also finds the server that another process
// of the same user embeds, and its token; it looks again before each connection,
// because another program may listen there later, and must not receive the
// token. When a server refuses a connection, the error reports what to change.
package connect
