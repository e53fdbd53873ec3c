// Package store keeps the data of embedded NATS servers: one directory for each
// workspace, which one process at a time holds by a lock.
//
// The holder writes its address and a secret to server.json, so that other
// processes of the same user can join its server. It removes the file when it
// leaves; a file that a killed process left is ignored, because its lock is
// free. A server that listens is also announced by its port (Announce), with
// the same rule.
//
// Token and certificate of a server outlive it. They are files that only their
// owner can read; a file that others can read, or a directory that another user
// could have created, is refused.
package store
