// Package broker keeps runs, jobs, output and values in NATS. Importers may not
// rely on this package: it may change at any time.
//
// A Conn is a connection (internal/jetstream) with modpipe's streams on it
// (internal/topology). Its parts are:
//
//   - Runs, the logs of runs. The log of a run is a set of subjects. Every write is
//     a compare-and-set on its subject's last sequence; ErrConflict reports a
//     refusal, and the caller reads and decides.
//   - Queue, the jobs that wait or run. internal/puller fills a worker's slots from
//     it.
//   - Logs, the output of modules, in chunks. A writer sends several without waiting
//     for each, and readers restore their order.
//   - Control, messages to and from workers that NATS does not store. They may be
//     lost, and their senders repeat the important ones.
//   - Values, outputs and results. Long ones, like long records and jobs, travel by
//     their digest (internal/content).
//
// What others write is checked when it is read: an unreadable record is an entry
// that says why. The package decides nothing about runs.
package broker
