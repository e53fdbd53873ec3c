// Package console prints what the programs show on stdout and stderr: text,
// tables, JSON, YAML and the log.
//
// Whatever a text contains, it commands neither a terminal nor a CI system:
// every function passes text of others through safetext. The log never blocks
// the program: a goroutine writes it, and lines are dropped, and counted, when
// their reader is too slow.
package console
