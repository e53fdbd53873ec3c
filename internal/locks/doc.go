// Package locks acquires and releases the keys and limits that all runs share,
// and evicts holders whose attempts have ended. It does no I/O and reads no
// clock: the bucket, the logs and the leases of runs are interfaces, so that the
// same code serves in an orchestrator and in a simulation that chooses the
// order of all events.
//
// # Nouns
//
// A lock is a key or a limit of the cluster (jobs.Lock); its entry in the
// Bucket names the holders: attempts, with the epoch of the orchestrator that
// took it for them. A Taker takes locks for the attempts of one run.
//
// # The rules
//
//   - An entry is changed by compare-and-set only. A refused writer reads the
//     entry again.
//   - A module is one holder. Its next attempt replaces the ones before, and a
//     newer orchestrator's entry replaces an older one's, never the reverse.
//   - A Taker takes all locks of an attempt, in their order, or none. A refused
//     attempt holds nothing.
//   - A holder counts until its attempt is closed in the log of its run.
//   - While an orchestrator decides for that run, it closes attempts and gives
//     their locks back. Another run evicts only entries of an older
//     orchestrator of the run, whose write may have arrived late: an attempt
//     that was not granted before the takeover never will be.
//   - A flight of the cache (jobs.Lock.Flight) is held without a grant. The entry
//     of an older orchestrator counts until its attempt is closed, or is no longer
//     open in the log because the server has lost records. Who evicts an attempt
//     that has succeeded stores its result first (Flights).
//   - When no orchestrator decides for that run, its attempt may have been
//     closed since. Otherwise the Taker closes it by the rules that every
//     orchestrator follows: in the log, after a takeover, and in a worker's
//     place only when the worker is lost.
package locks
