// Package broker speaks JetStream: it connects, makes the streams, writes and
// follows the logs of runs, puts jobs on lanes and pulls them, keeps output
// and blobs, and embeds a server.
//
// A Conn is one connection with modpipe's streams on it. Everything that it
// asks goes through one table of calls (call.go), so that every wait ends:
// by the answer, by a permission that the server denies (ErrDenied, with the
// subject), by the loss of the connection, or after tryTimeout. What is
// transient is tried again while the caller's context lasts; everything else
// is an error at once. Nothing is buffered over a lost connection: a write is
// either on its way or refused, so none arrives minutes late.
//
// Values and output go over a second connection (data.go), within a window that
// follows what the link carries (flow.go, and ahead.go for readers): on a slow
// link nothing short waits behind them. Blobs and output are sent again in
// order after a broken connection, and the server or the reader knows what it
// has.
//
// A permission that NATS takes away from a program at work is waited for
// (deny.go), and what the server has dropped is subscribed again.
//
// The log of a run is a set of subjects; every write is a compare-and-set on
// its subject's last sequence, and a refusal is ErrConflict: the caller reads
// and decides. Readers follow a stream with push consumers of their own. A
// position counts in one stream and on one connection: after every other one
// they read from the start, because a server that comes back may have lost the
// last part of its streams and use their sequences again.
//
// A Puller fills a worker's slots. One goroutine owns its state; it never has
// more jobs out than slots, because a request reserves what it asks for.
//
// subject.go and topology.go alone spell subjects and configure streams and
// consumers. The package decides nothing about runs.
package broker
