// Package attempt is what a worker does with one delivery of a job: whether it
// may start, when it claims, what a refused write means, what it commits, and
// when it acknowledges. It does no I/O of its own and reads no clock: the
// module's cell is behind Log, time behind Clock, and the execution behind
// Executor, so that the same code serves in a worker and in a simulation that
// chooses the order of everything.
//
// # Nouns
//
// A Worker is who serves: a name, an incarnation that is new at every start,
// a lease. A Delivery is one copy of a job that a worker was given, told from
// all others by its nonce. Its cell is the subject of its module in the run's
// log, where claims and outcomes are written by compare-and-set: whatever is
// written next makes every other writer's expectation wrong. Stops is how
// everybody else asks for the end of an execution.
//
// # The rules
//
//   - With a key or a limit: claim in the cell, expecting the fence. Refused
//     or unanswered, read the cell: its own nonce, it holds it; another's claim
//     of this attempt, leave the job alone; its outcome, acknowledge and forget;
//     anything else cannot be told from noise: ask the orchestrator of the run,
//     and write nothing before there is an answer.
//   - Start what was claimed only under a lease that has been live without a
//     gap since the claim was sent; else commit it as lost.
//   - Without a key: start at once, and claim when it outlives 20 ms. A
//     doubtful delivery (redelivered, marked again or stored late) looks first
//     whether the run has ended, and claims before it starts.
//   - A job that was stored before this connection was made is asked about
//     first: the server may have lost what led to it.
//   - Commit the outcome expecting the claim, else the fence. Refused, read
//     the cell: its own outcome, done; its own claim, once more with that
//     sequence; another's record of this attempt, discard; anything else, ask.
//   - When the connection was made again, read the cell before the next
//     heartbeat: with its own claim last, go on; else kill and forget. What was
//     read on one connection is not used on another.
//   - Acknowledge after the commit was answered.
//   - When the lease lapses, what holds a key is killed, and committed as lost
//     as soon as that can be written: the worker lives on under the same
//     incarnation, so nobody else may.
//   - Asked about an attempt that it does not run, it is recorded as lost.
//   - Its own records are recognised by incarnation and nonce, never by name.
//
// # Who owns what
//
// One goroutine serves a delivery (Serve), another watches while it executes
// (Watch). Everybody else reaches it through Stops, Recheck, Lapsed and
// Cancelled, which are safe for concurrent use.
package attempt
