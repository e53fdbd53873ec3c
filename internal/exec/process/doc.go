// Package process executes modules as processes of this machine.
//
// # Nouns
//
// An Executor starts the command of a task; what it starts is a handle. The
// process of a command leads its own session. On Linux everything that
// descends from it is found, by the session, by a mark in the environment and by
// parenthood; on other systems its process group is, and on Windows the command
// alone. A scratch is what an attempt has of the file system: a TMPDIR, the two
// files by which it exchanges outputs and needs, and an empty workspace where the
// worker has none. Spares are the directories of ended attempts that serve
// further ones.
//
// # Ownership
//
// One goroutine owns a handle: it waits for the command, gives the processes that
// the command leaves behind time to finish their output, ends them, and collects
// the command last, so that its number cannot be given to another process before.
// Another goroutine may stop the command at any time.
//
// # The guard
//
// The guard is a separate process, started from this program's file. It ends
// commands when this program cannot. The program announces every command to it,
// and sends it signs of life with the time at which the lease lapses. At that
// time, without a later sign, the guard kills the commands that hold a key. When
// its pipe ends, because this program was killed, it kills all commands. It also
// records when commands end, so that a program which was suspended learns it
// later. A guard runs in every program that imports this package: see sentry.
//
// # How it fails
//
// An error before the start is the machine's or the module's: see package
// machine. A process that cannot be ended within 5 s, or that has escaped and
// still holds the output, becomes a warning, and nothing of the attempt's
// directory is used again.
package process
