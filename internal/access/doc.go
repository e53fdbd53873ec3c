// Package access gets a program to a NATS server: to the one that its settings
// name, to the one that another process of the user embeds, or to one that it
// embeds itself.
//
// A Session is the connection, and all that this process keeps running for it.
// Close ends the connection, then the embedded server, then the hold on its
// store. A Door says who may join an embedded server: which address it listens
// on, with which token and certificate.
package access
