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
// # How it fails
//
// Restore never enters what an attempt has mounted, and removes nothing through a
// link. What it cannot remove or does not understand is an error, and the caller
// makes a new directory in place of this one. On systems other than Linux, Take
// always refuses.
package reuse
