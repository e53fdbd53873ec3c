// Package checkout compares the workspace of a worker with the snapshots of runs, or
// brings it to them.
//
// A worker with a workspace of its own runs modules in it, and the files there may
// be other ones than those that the run was submitted with. A Checkout either
// compares them, beside the first attempt of each run, and returns a warning. Or,
// with Sync, it makes the files those of the snapshot before an attempt begins.
//
// # What a sync does
//
// After a sync, a snapshot of the workspace is the snapshot of the run: files are
// written where they differ, and files that git tracks or does not ignore and that
// the snapshot lacks are removed. What git ignores stays, unless the snapshot has
// another file there. The directory .git stays: no commit, branch or stash is
// touched, so `git status` shows the difference between the commit that is checked
// out and the snapshot.
//
// The first sync is refused while the workspace has changes that are not committed,
// or an ignored file in the way: nothing that only this directory holds is lost. A
// file in .git then marks the directory. From then on it belongs to modpipe, and later
// syncs overwrite everything.
//
// # Ownership
//
// Attempts of one snapshot share the workspace. An attempt of another snapshot
// waits until they have left it, in the order of arrival. A lock in .git extends
// this to all workers of the directory. A sync is repeated for each run that the
// worker has not seen, because modules change files.
//
// # How it fails
//
// The machine causes the errors of Enter, so that the attempt goes to another worker.
// A sync that was interrupted leaves the mark without a snapshot, and the next one
// completes it. Waits end with the context.
package checkout
