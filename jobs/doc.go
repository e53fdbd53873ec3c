// Package jobs holds the messages that orchestrators and workers exchange: runs,
// attempts, lanes, what workers offer, and every message that crosses a process
// boundary. Importers may not rely on it: it may change at any time.
//
// A run is an append-only log of records. A record is one message on a
// subject of the run: the specification it was started with; in a module's
// cell the claims and outcomes of its attempts; on the control subject
// takeovers, grants, expansions and the moments when no worker served a
// lane; a cancellation; the end. The state of the run is a fold over these
// (package schedule), so a reader of the log knows what its writer knew.
//
// Messages are msgpack maps with short keys and a version. A decoder accepts
// its own version and older ones, ignores keys that it does not know, and
// refuses newer versions by name. Nothing here does I/O.
package jobs
