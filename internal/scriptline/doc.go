// Package scriptline finds the line at which a failed shell script ended.
//
// # How
//
// A shell does not tell its exit from outside: dash has no LINENO, and in an
// EXIT trap of bash LINENO is 1. Tracing (set -x, a DEBUG trap) costs a system
// call or more for every command. So the script itself keeps a variable: Mark
// puts an assignment (`MODPIPE_LINE=3; `) before each statement that begins a
// line, and an EXIT trap before the first. The trap does nothing when the
// script succeeds, else it writes the variable to a file, which the worker
// reads. An assignment takes a tenth of a microsecond and no system call. Ten
// marks and the trap add about 15 µs to the 1.7 ms that dash takes for a script
// of ten lines with one command, and 30 µs to the 2.4 ms of bash: most of it to
// parse the trap.
//
// The marks stay on the lines of the statements, so that the line numbers in
// the shell's own messages are those of the author.
//
// # What must not change
//
// A script must run as without marks: the same output, exit code, processes,
// traps, and the same values of $?, $_, $0 and LINENO. Therefore
//
//   - a statement that reads $? is marked only where $? is 0 anyway: after a
//     statement that would have ended the script otherwise;
//   - the last statement is not marked but removes the trap: bash replaces
//     itself by the last command only without a trap. When the script fails and
//     the trap has written nothing, the last statement has failed;
//   - the body of a loop is marked only if each round starts a process anyway,
//     which takes a thousand times as long as a mark. Otherwise `|| exit` behind
//     its simple commands notes the line, which costs nothing before one fails,
//     and everything else in it counts as the line of the loop;
//   - a function counts as a part of the statement that calls it;
//   - where a script sets traps itself, traces itself, exports everything or
//     runs text that the worker has not seen (eval, source), there is neither a
//     trap nor a variable: each mark adds a line to the file, which takes ten
//     microseconds;
//   - a script is left alone if the shell prints its lines, reads $_,
//     defines aliases or has DEBUG traps, if the parser does not understand it,
//     and if it has one line only.
//
// Where the line is not certain, none is named. Nothing is named when a signal
// ended the shell.
package scriptline
