// Package report defines what modpipe tells about a run: the report that `run
// --report`, `run -o json` and `runs show -o json` print, the events of
// `--progress json`, and the statuses of runs, modules and attempts.
//
// A Report is one document about a whole run, and an Event is one line about
// one step of it. Both are read by programs, so fields are only added, never
// renamed or removed, as long as Version and V stay 1. Statuses are text with
// methods; Status has the one table of legal transitions, and only package
// schedule assigns a status. Nothing in this package does I/O.
package report
