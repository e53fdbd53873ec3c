// Package worker runs modules: it registers, pulls jobs for its free slots,
// executes them, streams their logs, commits their outcomes, and drains.
//
// # Nouns
//
// A Worker is the configuration and the way to drain; its Run makes a shift,
// which has an incarnation of its own, a lease, the puller and the attempts
// that are open. A task is one delivery of a job: package internal/attempt has
// its protocol (claim, start, commit, acknowledge), the task what that has
// done. A command is the process part and knows no NATS.
//
// # Ownership
//
// Run starts every goroutine and returns when all have ended. A task is
// owned by its own goroutine, from the delivery to the acknowledgement; the
// loops of the shift (heartbeat, lanes, lapse, reconnects, control messages)
// reach it only through its delivery's stops and its recheck. The set of open
// tasks and what the heartbeat says are under the shift's mutex, which is
// not held over I/O. Slots go back to the puller when the processes are gone;
// what is left (the rest of the log, the commit) goes on in the background, in
// a bounded number.
//
// # What ends when the worker cannot end it
//
// The guard is a process of its own, started from this program's file. The
// worker tells it of every command, and gives it a sign of life every TTL/6
// with the time at which the lease lapses. When that time comes without a later
// sign, the guard kills what holds a key, as the worker itself would; when its
// pipe ends, because the worker was killed, it kills everything. It also notes
// when commands end, so that a worker which was stopped knows that later.
//
// # Whose fault it is
//
// An error before the start is the machine's (it lacks space, processes, file
// descriptors, the workspace) or the module's (its command). The former hands
// the attempt back, and the worker takes no more until a trial succeeds.
//
// # The protocol
//
// What is written to a module's cell, with which expectation, and what a
// refusal means, is in package internal/attempt. In short: with a key,
// nothing starts that is not claimed under a lease that has been live without
// a gap since the claim was sent; without one, it starts immediately, and claims
// when it outlives 20 ms, unless the delivery is doubtful or workers were lost
// under the module: then it claims first. An outcome is committed after all of the log is
// stored, a job is acknowledged after its outcome is.
//
// # How it fails
//
// NATS away: commands that write feel back-pressure, outcomes wait, and after
// the lease has lapsed (TTL − margin after the last acknowledged heartbeat was
// sent) whatever holds a key is killed without grace, and ends as lost once
// connected. Told to go while NATS is away, a worker goes: what it could not
// commit is declared lost by the orchestrator. Another process has closed an
// attempt that runs here: it is killed and discarded. On Linux everything that
// descends from a command is found and killed; on other systems its group is.
package worker
