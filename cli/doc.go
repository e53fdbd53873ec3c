// Package cli is the command line of both programs. It turns arguments,
// environment and a configuration file into options, connects to the NATS server
// that they name (one elsewhere, or one inside this process), and shows what
// happens. It decides nothing about a run.
//
// A command is a function of a context, an app and its options. A thin layer of
// cobra commands binds flags to the options, checks them, and calls the function;
// Run, the Go API, calls the same function without flags. An app has what all
// commands share: settings, streams, signals and sessions. It is made from a
// Process, so that the programs, the tests and a user's own main start the same
// code.
//
// Two things keep running. A runner carries one run to its end, on a server and a
// worker of its own if no other is named. A service (serve, dev, worker) works
// until a signal ends it. Everything that they start has stopped when they return.
//
// Faults of flags, environment and configuration are reported together, each with
// its origin. Errors carry their exit code (package exit). Stdout has the result
// that was asked for; everything else goes to stderr, by way of one progress while
// a run is followed.
//
// A new flag of `run` is a field and a line of define in run.go, for Go programs
// also in options.go. A new column of `runs list` is a field of report.Run, its
// header in broker/run_header.go, and a line of runColumns in internal/tables.
package cli
