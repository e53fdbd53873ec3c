// Package settings gives the flags of a command their values.
//
// A value comes from the command line, else from the program's own environment
// variables (MODPIPE_ORCHESTRATOR_…, MODPIPE_WORKER_…) or, for connections,
// those of the nats CLI (NATS_…), else from the configuration file, else from
// the default. A Binder reads all of them for one command. It remembers where
// each value came from, and collects every fault with its origin, so that the
// user sees all faults together.
package settings
