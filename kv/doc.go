// Package kv holds typed buckets: live workers, lanes, leases, locks and durations.
// Importers may not rely on this package: it may change at any time.
//
// The Registry is in memory, and its entries expire. A worker renews its entry and
// learns from the acknowledgement that NATS has received it. When a worker falls
// silent, the bucket's age limit removes the entry and notifies watchers. After a
// restart of the server the bucket is empty until the workers have renewed their
// entries, so every watch reports when it restarts (Began, Synced): absence counts
// only from there. Only Register checks whether another process has the entry.
//
// Lanes are written when a run first needs them, and renewed once a day while a run
// does. Workers watch them and serve those that they match.
//
// Leases name the orchestrator of a run, and expire. Locks name the holders of keys
// and limits of the cluster, and do not expire: the log of a holder's run decides
// whether it still counts. Stats has the durations of modules, one entry for each
// pipeline. An Epoch numbers the times in which sequences only grow.
//
// Every write is a compare-and-set, except that of a lane. An entry that cannot be
// read counts as held, or is left out of a watch; it is never overwritten by
// mistake. The package decides nothing.
package kv
