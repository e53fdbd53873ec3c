// Package reuse restores the directory that an attempt leaves to a tree of files,
// so that the next attempt finds what a new directory would hold.
//
// Take marks a directory after tree.Write has written it and before an attempt
// uses it. Restore compares every entry with the mark: the type and mode, size,
// inode, modification and change time, time of birth, and attributes as statx
// shows them. An entry that is equal stays. Everything else is removed and
// written from the store. The tree may be another one than before: what both have
// in common stays.
//
// # Why nothing of an attempt survives
//
// The change time decides. The system sets it at every change of content, mode,
// owner, links, names or extended attributes of a file, and no call sets it to a
// chosen value. Three conditions make it reliable:
//
//   - Take waits until the clock of the file system has passed the newest time
//     that it marked. A later change therefore has a later time.
//   - Only file systems are used that set it for writes through a memory mapping
//     too: ext4, XFS, Btrfs and OverlayFS. Others, such as tmpfs, are refused.
//   - No process of the attempt is left, which the caller guarantees.
//
// A directory that changed may carry extended attributes, an access control list
// that new files inherit, flags or another owner. It is not searched for them: a
// new directory takes its entries and its place, from the top down.
//
// A module that runs as root can set the clock back or write to the disk below the file
// system. Restore does not defend against that: such a module can change the
// store and the worker too. Times of access are not restored.
//
// # What it saves
//
// BenchmarkDirectory, 10,000 files of 200 MB in 500 directories on a busy machine
// with two CPUs, file systems in memory, beside `cp -r` (which clones on XFS).
// Processor time is in brackets.
//
//	                          ext4              XFS
//	cp -r                     2.6 s (0.45 s)    2.8 s (0.43 s)
//	written from the store    2.0 s (0.84 s)    2.0 s (0.78 s)
//	restored, unchanged       0.14 s (0.05 s)   0.04 s (0.04 s)
//	restored after a build    0.54 s            0.41 s
//
// A build changes 100 files and adds 500. On a disk that others use too, these
// take 26.8 s, 17.6 s, 0.4 s and 0.7 s. A directory with small files costs its
// creation more than its bytes, so that cloning saves little of the time, and
// reuse nearly all.
//
// # How it fails
//
// Restore never enters what an attempt has mounted, and removes nothing through a
// link. What it cannot remove or does not understand is an error, and the caller
// makes a new directory in place of this one. On systems other than Linux, Take
// always refuses.
package reuse
