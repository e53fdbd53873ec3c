// Package jetstream is a client of NATS JetStream whose every wait ends. It may
// change at any time.
//
// A Conn is one connection. All its requests go through one table of calls
// (call.go), so that a wait ends by the answer, by a denied permission (ErrDenied,
// with the subject), by the loss of the connection, or after tryTimeout. Transient
// errors are retried until the caller's context ends; all others are returned
// immediately. Nothing is buffered while the connection is down, so no write
// arrives minutes late. A context can be pinned to one connection (pin.go).
//
// Large values use a second connection (data.go), within a window that follows the
// rate of the link (flow.go, and intake.go for readers): on a slow link no short
// message waits behind them. After a broken connection they are sent again in
// order; the server or the reader drops duplicates.
//
// A working program waits for a withdrawn permission (deny.go), and renews the
// subscriptions that the server has dropped. It also waits while a stream is full,
// where the writer asks for that (room.go).
//
// Each reader follows a stream with its own push consumer (feed.go). A position
// counts in one stream and on one connection. Otherwise the reader starts from the
// beginning, because a restarted server may have lost the last part of its streams
// and reuse their sequences.
//
// A Bucket is a KV bucket. The package knows no runs, jobs or subjects of modpipe:
// Config.Streams lists the streams that a connection keeps in existence.
package jetstream
