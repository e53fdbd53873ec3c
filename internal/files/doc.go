// Package files gives attempts their files, and takes the files that they leave.
//
// A Machine has the store of this machine (package filestore) and the store that
// all machines share (package content). For an attempt it fetches what the
// machine lacks of the run's snapshot and of the artifacts that the module
// consumes, and writes them into a directory. After the attempt it takes the
// artifacts that the module produces from this directory, into both stores.
//
// A worker with a workspace of its own runs attempts in it. It finds the
// artifacts there too: what is there already stays, and what differs is a fault,
// because the directory belongs to the user.
//
// # Ownership
//
// A Directory belongs to one attempt, which closes it. Until then its contents are
// pinned in the store of the machine, so that nothing evicts them.
//
// # How it fails
//
// An error that the machine causes (a full disk, an unreadable store) satisfies
// machine.Caused: the attempt goes to another worker. All other errors fail the
// module: content that is damaged or gone, two artifacts that differ at one
// path, a glob that matches nothing. Waits for NATS end with the context.
package files
