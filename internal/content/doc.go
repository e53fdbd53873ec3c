// Package content stores values of any length, by a SHA-256, in namespaces of an
// object store of NATS. It may change at any time.
//
// A value is an entry and its chunks, each a message on a subject of its own:
//
//	$O.BUCKET.M.NAMESPACE.DIGEST                the entry
//	$O.BUCKET.M.NAMESPACE.DIGEST.SEGMENT        a note: this segment is stored
//	$O.BUCKET.C.NAMESPACE.DIGEST.FORM.CHUNK     a chunk, of values in this form
//
// The entry names the size and the check sum of each segment of 4 MiB. It is written
// last: a value without an entry does not exist. A segment is stored compressed (S2)
// when that saves an eighth. The writer does that, and not the server: the bytes cross the
// link and the server once, and short. The form is the length of the chunks, and of a compressed
// segment its check sum, too. A chunk is so named by what it holds, and any number of writers may store a value at the same time, and one that was
// interrupted continues: of a value of several segments it finds notes of those that
// are complete. Messages replace those before them on their subjects.
//
// Roles are confined to namespaces by subjects alone. Reading and writing use direct
// gets by subject and publishes only: no consumer, no get by sequence and no purge.
// The sweep (List, Drop) needs them.
//
// The digest of a plain value is that of its bytes, and a reader checks it at the end;
// what it returned before must not be used if the check fails. A value that is
// Unchecked has a digest that determines what it holds in another way, and the caller
// checks it. In both, a segment that does not have its check sum is read again, and
// then reported as ErrDamaged. Entries are data of others: one that contradicts its
// subject or itself is treated as missing.
//
// Have tells which values need not be sent. It renews them, so that they stay for Hold.
// A replica may be behind: it is believed that a value exists when the renewal, which
// expects the sequence that was read, is accepted; and that it does not, when the
// leader says so, too.
//
// Values expire by age. A sweep may remove them earlier: it lists them (List), marks
// those in use, with everything to which they refer (Marks), and drops others (Drop). A
// value that was stored or renewed after the list keeps its entry, and with it the
// chunks.
package content
