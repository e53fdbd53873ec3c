// Package orchestrator is the shell around package schedule: it reads a run's
// log, has the core decide, and carries the decisions out on NATS.
//
// Run owns one run. One goroutine, the loop, owns the fold, the dispatcher
// and the fleet; others feed it entries of the log, changes of the workers'
// registry, and answers of what it has asked of NATS, which goes on a bounded
// number of goroutines. Every write expects the sequence that the decision
// was made from, so a loop that is behind, or was replaced, is refused and
// changes nothing; the entry that was there first arrives, and the loop
// decides anew.
//
// Keys and limits of the cluster are taken and given back beside the log (locks),
// which decides whether those who are entered there still hold them.
//
// When NATS is away the loop waits. After every new connection, and when the
// stream of runs is another one, Run takes the run over again from the start of
// its log. It fails only on what does not pass: a permission, a corrupt log, a
// newer takeover, a log that NATS has lost.
// Package internal/client has what other programs ask about runs.
package orchestrator
