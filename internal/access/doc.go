// Package access connects a program to a NATS server: the one that its settings name,
// the one that another process of the user embeds, or one that it embeds itself.
//
// A Session is the connection and everything that this process runs for it. Close ends
// the connection, then the embedded server, then the hold on its store. A Door controls
// who may join an embedded server: it has the address, the token and the certificate.
package access
