// Package kv holds typed buckets: the registry of live workers, the
// lanes, leases and locks.
//
// The registry is in memory and its entries go by age: an entry is a worker's
// last sign of life. A worker renews it and learns from the acknowledgement
// that NATS has heard it; when it falls silent the bucket's age limit removes
// the entry and watchers hear of it. After a restart of the server the bucket
// is empty until the workers have been heard again, so every watch says when
// it begins anew (Began, Synced): absence counts only from there. Beside them
// stand the durations of modules, one entry a pipeline.
//
// Lanes are written when something first asks for them, and renewed once a
// day while somebody does; workers watch them and serve those that they match.
//
// Leases say who decides for a run and go by age. Locks say who holds what all
// runs share and do not: whether a holder still counts is for its run's log.
//
// A worker's entry is its own: only Register looks whether somebody else has
// it. The package decides nothing.
package kv
