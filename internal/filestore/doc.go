// Package filestore keeps the contents of files on this machine, by their
// SHA-256, within a bound. Every machine has one store, which all workers on it
// share.
//
// # Layout
//
//	content/ab/abcd…    a complete content, under its digest
//	records/kind/ab/…   a complete record: a small piece of data under a name
//	users/id/           what belongs to one open Store: its lock, pins, unfinished
//	                    files, and directories of attempts
//	usage               how many bytes are on disk
//	lock, evict.lock    locks among processes
//
// Only the user may read it: directories have the mode 0700, and files 0600.
//
// # A file appears complete or not at all
//
// A Writer writes an unfinished file in the directory of its user, computes the
// digest, and renames the file. A kill at any instant leaves complete files and
// unfinished ones. A user holds a lock on its directory while its Store is open;
// the system releases it when the process dies. Open and every eviction remove
// directories whose lock is free.
//
// Nothing is synced to disk. A kill loses nothing that was written. A power loss
// may leave a file without its bytes; the first use of it in each process reads
// it and notices. Syncing 10,000 small files costs more than fetching them again.
//
// # Damage
//
// Copying reads the bytes anyway, so that every copy and every Reader computes
// the digest and compares it. Cloning (FICLONE) reads nothing. Place reads a file
// before it trusts a clone, unless this process has read it since it changed last: it
// remembers device, inode, size, and the times of modification and change, which the system
// sets. A change within one second of another may leave these equal, so a younger
// file is read again. A use, which sets the time of modification once an hour,
// leads to another reading. A bad disk below an unchanged file shows within that
// hour, or immediately on a file system with checksums, as Btrfs is.
//
// Damaged content is removed and counts as missing: ErrMissing. Has and Missing
// look at names only, so that content which they found can still turn out to be
// missing when it is used. The caller then obtains it again. A reader must not
// believe what it read before io.EOF.
//
// # Pins
//
// A pin is a file in the directory of its user which lists digests. It is written
// under the lock of the store, and an eviction reads all pins under the same lock
// before it removes a batch of 64 files. Content that was pinned before it was
// found present therefore stays. The pins of a process that died end with its
// lock. The order of a caller is: Pin.Add, Missing, add what is missing, Place,
// Release.
//
// # Limit and eviction
//
// The file usage counts the bytes on disk: each file in blocks of 4 KiB, and one
// more for its entry. Each add counts before it renames, under the lock, so that a
// kill leaves a count that is too high, never one that is too low. Above the limit, one
// process at a time scans the store, corrects the count, and removes the least
// recently used files that are not pinned, records too, down to 90 % of the
// limit. A scan therefore follows at least a tenth of the limit in new content, unless pins
// hold the store above it: then the next one follows after a sixteenth, or when
// a pin of this process is released. A scan takes 3 to 5 µs a file.
//
// The time of modification of a file is that of its last use, to the hour. A
// content above the limit is kept while it is pinned.
//
// When the disk is full, a write evicts unpinned content (64 MiB at least) and
// tries again while that frees anything. Then it fails with an error that the
// machine causes: the worker hands the attempt back.
//
// # Placing files
//
// Place clones where store and directory share a file system that can do it
// (XFS, Btrfs), and copies otherwise. It never makes a hard link, through which a
// module could write into the store. Writing 10,000 files of 20 kB takes about
// 0.75 of the time of `cp -r`, with and without cloning: creating the files is
// most of it (BenchmarkDirectory in package reuse). NewDirectory creates directories on the file
// system of the store.
//
// # Ownership
//
// The Store starts no goroutines. Waits for the lock end with the context, and after two
// minutes at the latest, when a process that holds it must be suspended.
package filestore
