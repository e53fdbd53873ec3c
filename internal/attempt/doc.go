// Package attempt is the protocol that a worker follows for one delivery of a job:
// whether it may start, when it claims, what a refused write means, what it
// commits, and when it acknowledges. It does no I/O and reads no clock: the cell of
// the module is behind Log, time behind Clock, and the execution behind Host. So
// the same code serves in a worker, and in a simulation that chooses the order of
// all events.
//
// # Nouns
//
// A Worker serves deliveries: it has a name, an incarnation that is new at every
// start, and a lease. A Delivery is one copy of a job that a worker received; its
// nonce distinguishes it from all others. Its cell is the subject of its module in
// the log of the run. Claims and outcomes are written there by compare-and-set: each
// record invalidates the expectations of all other writers. Stops holds the requests
// of other parts to end an execution.
//
// # The rules
//
//   - With a key or a limit: claim in the cell, expecting the fence. When the claim
//     is refused or not answered, read the cell. With its own nonce there, it holds
//     the attempt. With another delivery's claim of this attempt, leave the job in
//     the queue. With an outcome of it, acknowledge and forget. Any other record may
//     be noise: ask the orchestrator of the run, and write nothing before it answers.
//   - Start a claimed attempt only under a lease that has been live without a gap
//     since the claim was sent. Otherwise commit it as lost.
//   - Without a key: start immediately, and claim when it takes longer than 20 ms. A
//     delivery that may be a duplicate (redelivered, marked by the orchestrator, or
//     stored late) first checks whether the run has ended, and claims before it starts.
//   - Ask about a job first that was stored before this connection began: the server
//     may have lost the records that led to it.
//   - Commit the outcome expecting the claim, or else the fence. When it is refused,
//     read the cell. With its own outcome there, it is done. With its own claim, write
//     once more with that sequence. With another record of this attempt, discard.
//     With any other record, ask.
//   - On a new connection, read the cell before the next heartbeat. With its own claim
//     last, go on; otherwise kill and forget. A sequence that was read on one
//     connection is not used on another.
//   - Acknowledge after the commit was answered.
//   - When the lease lapses, kill each attempt with a key, and commit it as lost as
//     soon as that can be written: the worker lives on under the same incarnation, so
//     no other process may close it.
//   - When the orchestrator asks about an attempt that it does not run, record it as
//     lost.
//   - Recognise its own records by incarnation and nonce, never by name.
//
// # Ownership
//
// One goroutine serves a delivery (Serve), and another one watches while it executes
// (Watch). All others use Stops, Recheck, Lapsed and Cancelled, which are safe for
// concurrent use.
package attempt
