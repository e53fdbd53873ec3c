// Package doctor examines whether runs would work here, and what to do if not.
//
// It asks one question after the other, each with a time limit of its own: the
// NATS server, its limits and permissions, its streams, clocks, workers, what a
// lost store left behind, the store of this machine, its shell and its tools. It
// changes nothing on the server. Each answer is a Finding: ok, a warning (runs
// work, but worse, or not everywhere) or a fault (runs do not work).
package doctor
