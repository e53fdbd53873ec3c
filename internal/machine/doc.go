// Package machine describes the machine on which this process runs: what it
// offers to modules, and what it lacks for the next one.
//
// CPUs, Memory and Load are what a worker offers. On Linux they respect the
// control groups of this process, in version 1 and 2.
//
// CheckFiles and CheckProcesses check for room before a command starts. An error
// before the start is the machine's (it lacks space, processes, file descriptors)
// or the module's (its command): Caused distinguishes the two. A worker hands an
// attempt back for the first kind, because another machine may succeed with it.
package machine
