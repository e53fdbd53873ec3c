// Package schedule decides what happens next in a run: which module starts, is
// retried, is skipped, or has failed. It does no I/O, reads no clock and starts no
// goroutine, so every decision can be replayed, simulated and tested. It may
// change at any time.
//
// Run is the state of one run, a fold over its log (Apply). The same entries give
// the same Run on any machine: times and random choices are in the entries, or
// follow from names. Every module has one node with one status. fate (fate.go) is
// the table from the ends of a module's needs to its own fate, settle (settle.go)
// passes an end on to the modules that depend on it, and only become assigns a
// status. A Run also derives the events of the run and numbers them. Steps pairs
// each entry with its events, for readers that follow the run.
//
// Dispatcher has the memory of an orchestrator that the log need not have: which
// jobs it has published, which conditions it has found true, and what it has asked
// of workers, and when. Decide computes Actions from that, a Fleet (the live
// workers) and the time. The caller carries the actions out, and their results
// come back as entries of the log. When a write was refused, the entry that was
// stored first arrives, and the next Decide starts from it. An orchestrator that
// takes a run over starts with the fold and an empty memory.
//
// The dispatcher evaluates conditions, the axes of families and the texts of
// commands itself (evaluate.go), because they are pure functions of how the needs
// ended. Values that the log holds by reference have to be loaded first: Fetch asks
// for them, and nothing keeps them afterwards.
//
// One goroutine owns a Run and its Dispatcher.
package schedule
