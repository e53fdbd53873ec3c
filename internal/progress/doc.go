// Package progress shows a run while it lasts, and how it ended.
//
// A Progress receives the events of one run, from several goroutines. There is one for
// each value of --progress: lines for people (plain), lines that a CI system folds (ci),
// a live view of a terminal (tty), one JSON object for each event (json), and failures
// only (quiet). A Progress decides nothing and does not delay the run. The live view
// draws a few times a second from a state that events update. A separate goroutine
// writes the log of the program.
//
// Text from modules and servers passes through package shown first. Close restores what
// a Progress has changed, such as the modes of a terminal. It may be called from any
// goroutine and more than once.
package progress
