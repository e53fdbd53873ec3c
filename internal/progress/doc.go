// Package progress shows a run while it goes on, and how it ended.
//
// A Progress receives the events of one run, from several goroutines. There is
// one for each value of --progress: lines for people (plain), lines that a CI
// system folds (ci), a live view of a terminal (tty), one JSON object for each
// event (json), and failures only (quiet). None of them decides anything, and
// none keeps the run waiting: the live view draws a few times a second from a
// state that events update, and the log of the program is written by a goroutine
// of its own.
//
// All text of others passes through package shown first. Close gives back what
// a progress took, such as the modes of a terminal, from any goroutine and more
// than once.
package progress
