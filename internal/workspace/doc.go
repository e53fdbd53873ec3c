// Package workspace prepares the directory in which the command of an attempt
// runs.
//
// A Source is chosen once, when a worker starts. A worker with a workspace runs
// commands in place: all attempts share its directory, and nothing is prepared
// or removed. A worker without one creates an empty directory for each attempt.
//
// Prepare is the seam for further ways. A snapshot of files would become a field
// of Request, which names the tree, and a Source that writes it below
// Request.Within. The caller, package internal/exec/process, does not change.
//
// # How it fails
//
// The machine causes the errors of Prepare: the directory is gone, is not
// mounted any more, or cannot be created. Resolve also returns errors that the
// module causes, when its `dir` does not exist or leads out of the workspace.
package workspace
