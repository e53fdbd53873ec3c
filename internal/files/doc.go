// Package files gives attempts their files, and takes the files that they leave.
//
// A Machine has the store of this machine (package filestore) and the store that
// all machines share (package content). For an attempt it fetches what the
// machine lacks of the run's snapshot and of the artifacts that the module
// consumes, and writes them into a directory. After the attempt it takes the
// artifacts that the module produces from this directory, into both stores.
//
// A worker with a workspace of its own runs attempts in it. It finds the
// artifacts there too: what is there already stays, and what differs is a fault,
// because the directory belongs to the user.
//
// # Directories that attempts leave
//
// The directory that an attempt leaves serves the next attempt of any tree: package
// reuse restores it exactly. This takes 64 files in the tree, since a mark costs a
// tick of the clock of the file system, and a worker that knows that no process of
// the attempt is left. As many are kept as the worker has slots, and the marks of
// all directories together cover 200,000 files, which bounds their memory to 70 MB.
// A directory that cannot be restored with certainty is removed, and a new one takes
// its place. When the disk is full, the kept directories go first.
//
// A container that a module has started and left running may still hold such a
// directory; nothing on the machine shows this.
//
// BenchmarkPrepare, 10,000 files of 200 MB on a busy disk (ext4) with two CPUs, with
// the removal of what is not kept:
//
//	cp -r                          13.8 s
//	a new directory                10.9 s
//	restored, unchanged             0.30 s
//	restored after a build          0.61 s
//
// # Artifacts that functions open
//
// A Go function opens an artifact as an fs.FS. Only its list is read then. A file is
// fetched when it is opened, together with its neighbours in the same pack; it is
// verified when it is read to its end.
//
// # Cache directories
//
// Each attempt has cache directories of its own, below its directory or beside it. A
// job names the tree to restore there; the store of the machine is asked first. After
// a success the directory is taken and stored, unless its exact key was restored, and
// the outcome names the tree: the worker writes no entry of the cache. In the
// workspace of a worker, directories with a path are left alone: they belong to the user. Content
// that is gone or damaged leaves the directory empty, with a warning.
//
// # Workspaces
//
// An index of each workspace, beside the store, remembers the digests of artifacts
// in it. An artifact that is there already, unchanged, costs one stat a file; what
// was written within the last tenth of a second is read. The index is saved when
// the Machine is closed.
//
// A cached module may run in it, too. Its declared inputs there are compared with the
// snapshot of the run before and after the attempt, so that the orchestrator knows
// whether the result belongs to its fingerprint.
//
// # Ownership
//
// A Directory belongs to one attempt, which closes it. Until then its contents are
// pinned in the store of the machine, so that nothing evicts them.
//
// # How it fails
//
// An error that the machine causes (a full disk, an unreadable store) satisfies
// machine.Caused: the attempt goes to another worker. All other errors fail the
// module: content that is damaged or gone, two artifacts that differ at one
// path, a glob that matches nothing. Waits for NATS end with the context.
package files
