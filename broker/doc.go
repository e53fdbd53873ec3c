// Package broker speaks JetStream: it connects, creates the streams, writes and
// follows the logs of runs, publishes jobs on lanes and pulls them, stores output
// and blobs, and embeds a server.
//
// A Conn is one connection with modpipe's streams on it. All requests go through
// one table of calls (call.go), so that every wait ends: by the answer, by a
// denied permission (ErrDenied, with the subject), by the loss of the connection,
// or after tryTimeout. Transient errors are retried until the caller's context
// ends; all others are returned immediately. Nothing is buffered while the
// connection is down, so no write arrives minutes late.
//
// Values and output use a second connection (data.go), within a window that
// follows the rate of the link (flow.go, and ahead.go for readers): on a slow
// link no short message waits behind them. After a broken connection, blobs and
// output are sent again in order; the server or the reader drops duplicates.
//
// A working program waits for a withdrawn permission (deny.go), and renews the
// subscriptions that the server has dropped.
//
// The log of a run is a set of subjects. Every write is a compare-and-set on its
// subject's last sequence; ErrConflict reports a refusal, and the caller reads
// and decides. Each reader follows a stream with its own push consumer. A
// position counts in one stream and on one connection. Otherwise the reader
// starts from the beginning, because a restarted server may have lost the last
// part of its streams and reuse their sequences.
//
// A Puller fills a worker's slots. One goroutine owns its state; it never has
// more jobs out than slots, because a request reserves what it asks for.
//
// subject.go and topology.go alone spell subjects and configure streams and
// consumers. The package decides nothing about runs.
package broker
