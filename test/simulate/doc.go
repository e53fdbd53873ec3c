// Package simulate runs the whole system in a world of its own, where a seed
// decides everything that happens, and looks for broken promises.
//
// # What is real and what is not
//
// Real: the fold of a run's log and what is decided from it (schedule.Run,
// Dispatcher and Fleet), what a worker does with a delivery (package
// internal/attempt), and how keys and limits of the cluster are taken, given
// back and had out of the way (package internal/locks), the latter two as
// coroutines of which exactly one runs at a time. Made here: NATS (logs with
// their compare-and-set, the queue with its redeliveries, the registry, which a
// restart empties, the leases, and the bucket of locks), the shell of an
// orchestrator (lease, takeover, the carrying out of decisions) and of a worker
// (registration, heartbeats, pulls, drains), and processes that stand for what
// modules do.
//
// # Nouns
//
// A world is one system from its beginning until its runs have ended: one to
// three runs of pipelines that the seed draws, one to four orchestrators, one
// to four workers. Its climate says what there is much of. A party is a process
// with a clock of its own, which may be killed, paused, or cut off one way or
// both. A step is one event: a message that arrives, a timer that rings, a
// fault. Faults happen for some seconds of the world's time; after that
// everything is mended, and what was promised to come to an end has three
// minutes to do so.
//
// # What goes wrong
//
// Messages are lost, doubled, late and out of order; answers are lost after
// what they answer was stored; the server restarts and forgets what was under
// way, the last seconds of its streams, each stream others, or its whole store,
// after which people submit other runs; its clock jumps; its registry alone does
// not answer. A worker's machine can begin nothing for a while. Somebody writes stray records into cells. Parties die, are
// paused and cut off, at any step, and act late when they go on; workers drain,
// or are told to stop at once; orchestrators are told to go, and one may die for
// ever, with its run; people cancel, once and twice. What a pipeline can ask for
// (keys, limits, run-alone, retries, time-outs, deadlines, always-run,
// fail-slow, …) is drawn, too.
//
// # What is checked
//
// At every step that could break it, as far as the server has lost nothing: an
// attempt has one outcome, and nothing follows a success; a module never starts before its needs ended, after it
// was closed, before its retry's delay is over or after its run's end; of two
// live workers never both hold a key, limits hold, tokens grow and none is had
// twice, over all runs for keys and limits of the cluster, whose entries name
// whoever was granted them until the attempt is closed; nobody is declared lost
// who lives and holds a key; a run ends once, with the verdict of its modules;
// every log folds, from any of its prefixes; nobody decides again and again
// without a change. At the end of a world: every run has ended, in the statuses
// of the table of fates, nothing is in the queue, and no ended run holds
// anything.
//
// # What is assumed
//
// The network does not repeat the publication of a job: an orchestrator that
// sends one twice says so in the second. A feed from the server is at most
// 300 ms behind, unless it was cut. A server that loses the last part of its
// streams keeps its leases and locks. No stray record claims or ends the attempt
// that is the present one. Clocks drift by one percent at most. A
// module without a key may start after it was closed when its delivery was
// already on its way, or when the server's clock has jumped; it is ended when it
// claims.
//
// # Whether it can find anything
//
// testdata/bugs holds changes to the real source, each of which breaks one rule
// of the protocol. A test builds the simulation with each and lets it run until
// it finds the fault; bugs.md says with which seed and after how many steps.
package simulate
