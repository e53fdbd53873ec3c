// Package schedule decides: what a run's log says, and what is to be done
// now. It does no I/O, reads no clock and starts no goroutine, so that every
// decision can be replayed, simulated and tested.
//
// Run is the state of one run, a fold over its log (Apply). The same entries
// give the same Run on any machine: what is timed or random stands in the
// entries or follows from names. Every module has one node with one status;
// fate (fate.go) is the table of what becomes of a module by how its needs
// ended, settle (settle.go) carries an end to what depends on it, and nothing
// else assigns a status.
//
// Dispatcher adds what an orchestrator remembers but the log need not know:
// which jobs it has published, which conditions it has seen true, what it has
// asked of workers and when. Decide turns that, a Fleet (the workers that are
// there) and the time into Actions. The caller carries them out and feeds
// what comes of them back as entries of the log; an action whose write was
// refused needs nothing: the entry that was there first arrives, and the next
// Decide starts from it. An orchestrator that takes a run over starts with
// the fold and an empty memory, and decides on.
//
// A Run and its Dispatcher belong to one goroutine.
package schedule
