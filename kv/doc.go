// Package kv holds typed buckets: the registry of live workers, the
// lanes, leases and locks.
//
// The registry is in memory and its entries go by age: an entry is a worker's
// last sign of life. A worker renews it and learns from the acknowledgement
// that NATS has heard it; when it falls silent the bucket's age limit removes
// the entry and watchers hear of it. After a restart of the server the bucket
// is empty until the workers have been heard again, so every watch says when
// it restarts (Began, Synced): absence counts only from there. Beside them
// stand the durations of modules, one entry a pipeline.
//
// Lanes are written when a run first asks for them, and renewed once a day
// while one does; workers watch them and serve those that they match.
//
// Leases name the orchestrator of a run and expire by age. Locks name the
// holders of what all runs share, and do not expire: the log of a holder's run
// says whether it still counts.
//
// A worker's entry is its own: only Register looks whether another process has
// it. The package decides nothing.
package kv
