// Package doctor examines whether runs would work here, and what to do if not.
//
// It runs one check after the other, each with a separate time limit. The checks cover
// the NATS server, its limits and permissions, its streams, clocks, workers, the
// remains of a lost store, the store of this machine, its shell and its tools. They
// change nothing on the server. The result of each is a Finding: ok, a warning (runs
// work, but worse, or not everywhere) or a fault (runs do not work).
package doctor
