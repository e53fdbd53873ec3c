// Package function executes modules as Go functions of this program.
//
// An Executor calls the function of a task on a goroutine; Isolated wraps the
// program so that each call runs in its own process. A stop cancels the
// context of the function. A function cannot be ended by force: one that has not
// returned when its grace is over is abandoned. It runs on, its output is
// refused, and the slot of its attempt is free.
//
// A function may also prepare a command: Result.Prepared then has the job with
// the values that the program has read, and another executor runs it.
package function
