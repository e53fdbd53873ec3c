// Package orchestrator is the shell around package schedule: it reads a run's
// log, asks the core for decisions, and carries them out on NATS.
//
// Run owns one run. One goroutine, the loop, owns the fold, the dispatcher and
// the fleet. Other goroutines send it entries of the log, changes of the
// workers' registry, and the results of requests to NATS. A bounded number of
// goroutines makes these requests. Every write expects the sequence that the
// decision was based on. NATS therefore refuses the write of a loop that is
// behind or was replaced, and nothing changes. The entry that was first arrives,
// and the loop decides again.
//
// The loop gives each step of its fold to Config.Observe, so a follower in the
// same process need not fold the log a second time. Values that the core reads and
// the log holds by reference are fetched one set at a time.
//
// Run acquires and releases keys and limits of the cluster in the bucket of
// locks. The logs of the runs decide whether the holders that are entered there
// still hold them.
//
// While NATS cannot be reached, the loop waits. After every reconnect, and after
// the stream of runs was replaced, Run takes the run over again from the start
// of its log. It fails only on permanent errors: a denied permission, a corrupt
// log, a newer takeover, or a log that NATS has lost.
//
// Serve runs Run for every run without an orchestrator, and Sweep removes the
// data of old runs. Package internal/client reads and submits runs.
package orchestrator
