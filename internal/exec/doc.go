// Package exec executes modules: it starts an attempt on an executor and
// supervises it to its end.
//
// # Nouns
//
// A Task is one attempt, with everything that its execution needs. An Executor
// starts tasks in one way: package process as processes of this machine, package
// function as Go functions of this program. A Handle is a started task. A Result
// is how it ended; the worker makes the outcome of the attempt from it. A Sink
// receives the output.
//
// # Who decides what
//
// Run and Supervise are the same for every executor. They apply the time-out,
// the requests to stop with their grace, and the check of the lease before the
// start. The executor only starts, ends by request, and reports. So the status of
// an attempt that was stopped, timed out or could not start is decided here, and
// that of an attempt that ended by itself in the Handle.
//
// A time-out counts the time in which the execution could run. A machine or a
// process that was suspended does not use it up; each Handle measures this in the
// way that it can.
//
// # How it fails
//
// The module causes an error of Start, or the machine, as machine.Caused reports:
// then the attempt is handed back, for another worker. An execution that
// cannot be ended (a Go function that ignores its context) is abandoned by its
// Handle, whose Wait then returns.
//
// # A further executor
//
// A container executor would be a package beside process, of the size of package
// function: Start runs the engine's client and Stop calls its stop and kill. It
// would touch three files: the new package's, worker/execute.go, which chooses
// the executor of a job, and worker/config.go, for the engine's address.
package exec
