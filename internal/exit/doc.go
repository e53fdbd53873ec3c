// Package exit defines the exit codes of both programs, and errors that carry one.
//
// A command returns an error. The command line prints its text and ends the
// process with its code. Errors of other packages have no code: cli maps them.
package exit
