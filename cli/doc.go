// Package cli is the command line of both programs: it turns arguments,
// environment and a configuration file into settings, connects what they name
// (a NATS server somewhere, or one inside this process), and shows what
// happens. It decides nothing about a run.
//
// A command is a function from a Process (arguments, environment, streams,
// signals) to an exit code, so that the programs, the tests and a user's own
// main start the same code. Settings come from a flag, else from the
// program's own environment variables (MODPIPE_ORCHESTRATOR_…, MODPIPE_WORKER_…;
// for connections also the nats CLI's NATS_…), else from the configuration
// file, else from the default; every fault in any of them is reported at
// once, with its origin (config.go). Errors carry their exit code (exit.go).
//
// Stdout carries the result that was asked for. Everything else goes to
// stderr, by way of one progress (progress.go) while a run is being followed.
//
// An embedded server keeps its data in a store, one directory per workspace,
// which one process at a time holds by a lock (store.go). The holder leaves
// its address and a secret there, for other processes of the same user.
package cli
