// Package content stores values of any length by the SHA-256 of their bytes, in an
// object store of NATS. It may change at any time.
//
// A value is an entry, which names the value's digest, size and chunks, and its
// chunks, which are messages on their own subject. The entry is written last:
// a value without an entry does not exist. A value that is stored again while it
// exists only has its entry renewed, so that it does not expire while it is used.
// The layout is that of the object store of nats.go, but the package reads and
// writes it by itself:
//
//   - nats.go publishes the entry together with the chunks. If the stream has room
//     for the short entry but not for a chunk, the result is an entry without its
//     bytes that counts as stored.
//   - nats.go asks any replica, and trusts one that is behind and lacks the value or
//     a part of it. If the consumer of the chunks is placed on a server that has
//     just died, its read waits for minutes.
//
// Reading and writing hold a bounded part of a value in memory. A reader checks the
// digest at the end; what it returned before that must not be used if the check
// fails. Entries and chunks are data of others: an entry that contradicts its
// subject or names no chunks is treated as missing, and storing the value replaces
// it.
//
// Values expire by age. A sweep may remove them earlier: it lists them (List), marks
// those in use, with everything that a manifest refers to (Marks), and drops others
// (Drop). A value that was stored or renewed after the list keeps its entry.
package content
