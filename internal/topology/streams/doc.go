// Package streams has the streams and consumers of modpipe: their names, the subjects
// that each stores, and their settings. Package topology has the subjects within them.
//
// The package is a table. It knows no runs and does no I/O: internal/jetstream creates
// the streams and compares them with those of a server.
package streams
