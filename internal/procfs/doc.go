// Package procfs reads the processes of this machine from /proc of Linux.
//
// A process may end between two reads: each function reports what it found, and
// no caller may rely on a process that was there a moment ago.
package procfs
