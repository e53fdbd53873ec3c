// Package locks is how a run takes the keys and limits that all runs share,
// gives them back, and has others out of the way who hold them and may not any
// more. It does no I/O of its own and reads no clock: the bucket, the logs and
// the leases of runs are interfaces, so that the same code serves in an
// orchestrator and in a simulation that chooses the order of everything.
//
// # Nouns
//
// A lock is a key or a limit of the cluster (jobs.Lock); its entry in the
// Bucket names the holders: attempts, with the epoch of the orchestrator that
// took it for them. A Taker takes locks for the attempts of one run.
//
// # The rules
//
//   - An entry is changed by compare-and-set only: whoever was second reads
//     again.
//   - A module is one holder: its next attempt replaces those before it, a
//     newer orchestrator's entry an elder's, and never the other way round.
//   - All locks of an attempt are taken, in their order, or none; who is
//     refused holds nothing.
//   - A holder counts until its attempt is closed in the log of its run. As
//     long as somebody decides for that run, its own orchestrator closes and
//     gives back; only what an elder one has entered there, perhaps by a write
//     that was long on its way, is looked for in the log: what an attempt was
//     not granted before the run was taken over, it never will be. Of a run that
//     nobody decides for, the attempt may have been closed since, or is closed
//     here by the rules that every orchestrator keeps: in the log, after a
//     takeover, and in a worker's place only when the worker is lost.
package locks
