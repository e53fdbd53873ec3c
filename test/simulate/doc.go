// Package simulate runs the whole system in a simulated world and checks its
// promises. A seed decides everything that happens in a world.
//
// # What is real and what is not
//
// Real code:
//
//   - the fold of a run's log and the decisions from it (schedule.Run,
//     Dispatcher and Fleet);
//   - how a worker serves a delivery (package internal/attempt);
//   - how an orchestrator takes, gives back and reclaims keys and limits of the
//     cluster, and the flights of cached results (package internal/locks).
//
// The last two run as coroutines, of which exactly one runs at a time.
//
// Models:
//
//   - NATS: logs with their compare-and-set, the queue with its redeliveries,
//     the registry, which a restart empties, the leases, the bucket of locks, and
//     that of cached results;
//   - the shell of an orchestrator: its leases, takeovers, and the execution of
//     decisions;
//   - the shell of a worker: registration, heartbeats, pulls and drains;
//   - the processes of modules.
//
// # Nouns
//
// A world is one system, from its beginning until its runs have ended. It has one
// to three runs of pipelines that the seed draws, one to four orchestrators, and
// one to four workers. Its climate sets which events are frequent.
//
// A party is a process with its own clock. It can be killed, paused, or cut off
// in one direction or both.
//
// A step is one event: a message arrives, a timer fires, a fault happens. Faults
// happen for some seconds of the world's time. Then all faults end, and everything
// that is promised to end has three minutes to do so.
//
// # Faults
//
//   - The network loses, duplicates, delays and reorders messages. It loses
//     answers after the server has stored the request.
//   - The server restarts. It forgets requests under way, the last seconds of its
//     streams (different amounts in different streams), or its whole store. After
//     the loss of a store, users submit other runs.
//   - The clock of the server jumps.
//   - The registry alone stops answering.
//   - The machine of a worker cannot start attempts for a while.
//   - A stranger writes stray records into cells.
//   - A forger with the rights of a worker writes records that would fit: with no
//     key, with the key of another attempt, or with one that a worker, its
//     accomplice, has received. It repeats signed records, also those that the
//     server has lost, asks in the name of workers, answers their questions, and
//     floods cells.
//   - An orchestrator does not have the secret of the others, or signs new runs with
//     another one.
//   - Parties die, pause and are cut off, at any step. They act late when they
//     continue.
//   - Workers drain, or stop without a grace period.
//   - Orchestrators stop. One may die for ever, with its run.
//   - Users cancel a run, once or twice.
//
// The seed also draws what a pipeline can ask for: keys, limits, run-alone,
// retries, time-outs, deadlines, always-run, fail-slow and so on.
//
// # Checks
//
// These are checked at every step that could break them, as far as the server has
// lost nothing:
//
//   - An attempt has one outcome, and no outcome follows a success.
//   - A module never starts before its needs ended, after it was closed, before
//     its retry's delay is over, or after its run's end.
//   - Two live workers never both hold a key, and limits hold.
//   - Fencing tokens grow, and no two executions have the same one. For keys and
//     limits of the cluster, this covers all runs.
//   - The entry of a key or limit of the cluster names each attempt that was
//     granted it, until the attempt is closed.
//   - A worker that lives and holds a key is never declared lost.
//   - A cached result has the fingerprint and a namespace of the module that takes
//     it, some attempt has produced it, and its success stands in that attempt's
//     log. The module's condition holds.
//   - No two attempts of a fingerprint are executed at the same time in a namespace,
//     unless one is closed. An attempt keeps its flight until then.
//   - A lookup finds a result that was stored before.
//   - A module that waits for a flight has no grant, and no lock of the cluster.
//   - A run ends once, with the verdict of its modules.
//   - Every log folds, and so does each of its prefixes.
//   - No orchestrator decides again and again without a change.
//   - No forged record counts, and no worker gives an outcome up because of one.
//   - No orchestrator acts for a run whose key it does not have.
//   - A viewer without the key can fold every prefix of a log. It reports an ended run
//     as a reader with the key does.
//
// At the end of a world, every run has ended, in the statuses of the table of
// fates. The queue is empty, and no ended run holds a lock.
//
// # Assumptions
//
//   - The network does not repeat the publication of a job. An orchestrator that
//     sends a job twice marks the second copy.
//   - A feed from the server is at most 300 ms behind, unless it was cut.
//   - A server that loses the last part of its streams keeps its leases and locks. It
//     may lose cached results and flights.
//   - No stray record claims or ends the current attempt in a world without keys.
//   - How an attempt ends whose key the forger has does not matter, nor whether it
//     holds its locks.
//   - A server that loses records has one secret that signs.
//   - Clocks drift by one percent at most.
//   - A module without a key may start after it was closed, when its delivery was
//     already on its way or when the server's clock has jumped. It ends when it
//     claims.
//
// # Planted bugs
//
// testdata/bugs holds changes to the real source. Each breaks one rule of the
// protocol. A test builds the simulation with each change and runs it until it
// finds the fault. The page bugs.md lists the seeds and the numbers of steps.
package simulate
