// Package worker executes modules: it registers, pulls jobs for its free slots,
// executes them, streams their logs, commits their outcomes, and drains.
//
// Importers may not rely on this package: it may change at any time.
//
// # Nouns
//
// A Worker is the configuration, and the way to drain. Its Run is a shift, which has
// an incarnation, a lease, the puller and the open attempts. A task is one delivery of
// a job: package internal/attempt has its protocol (claim, start, commit,
// acknowledge), package internal/exec executes it, and the task connects the two with
// NATS.
//
// # Ownership
//
// Run starts every goroutine and returns when all have ended. One goroutine owns a
// task, from the delivery to the acknowledgement. The loops of the shift (heartbeat,
// lanes, lapse, reconnects, control messages) reach it only through the stops and the
// recheck of its delivery. The mutex of the shift guards the set of open tasks and the
// content of the heartbeat, and is not held over I/O. Slots go back to the puller when
// the processes are gone. The rest (the end of the log, the commit) continues in the
// background, for a bounded number of tasks.
//
// # Faults of the machine
//
// An error before the start is the machine's (it lacks space, processes, file
// descriptors, the workspace) or the module's (its command). An attempt with an error
// of the machine is handed back, and the worker takes no more until a trial succeeds.
//
// # The protocol
//
// Package internal/attempt describes each write to the cell of a module, its
// expectation, and the meaning of a refusal. In short: an attempt with a key starts
// only when it is claimed, under a lease that has been live without a gap since the
// claim was sent. Other attempts start immediately, and claim when they take longer
// than 20 ms; but they claim first when the delivery may be a duplicate, or workers
// were lost while they executed the module. An outcome is committed when all of the
// log is stored, and a job is acknowledged when its outcome is.
//
// # How it fails
//
// While NATS is away, commands that write block, and outcomes wait. When the lease
// has lapsed (TTL − margin after the last acknowledged heartbeat was sent) the
// attempts that hold a key are killed without a grace, and end as lost once the worker
// is connected. A worker that is asked to end while NATS is away ends; the
// orchestrator declares the attempts lost that it could not commit. When another
// process has closed an attempt that runs here, its processes are killed and its
// result is discarded. The guard of package internal/exec/process kills what this
// process can no longer kill.
package worker
