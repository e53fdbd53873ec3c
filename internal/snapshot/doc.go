// Package snapshot decides which files of a workspace a run takes along, and
// takes their tree.
//
// # What is taken
//
// Inside a git work tree, a snapshot contains the files that git tracks and
// those that it does not ignore, as they are in the work tree. Files of
// initialised submodules belong to it, files that were deleted do not. Outside
// git it contains nothing. A tracked file that .gitignore names is taken: git
// ignores only what it does not track. pipeline.Workspace adds files (include),
// also ignored ones, and removes files (exclude), and the file .modpipeignore
// beside the pipeline file removes more:
//
//	(what git lists ∪ include) − exclude − .modpipeignore
//
// Paths, patterns and the rules of .modpipeignore are relative to the workspace.
// Nothing named .git is ever taken by these rules.
//
// With Options.Rev, git's part is the tree of that commit and not the
// files of the work tree, and contents come from git's objects.
//
// # Git
//
// The program git answers every question about git. It runs with the user's
// configuration, because that says what is ignored, but not with the environment
// that a hook has (GIT_DIR and others), and it writes neither the index nor the
// work tree. The rules of .modpipeignore are applied by `git check-ignore` in an
// empty repository, so they mean exactly what they mean in .gitignore; a library
// with a second reading of that syntax would differ at its edges. A machine
// without git can therefore take only files outside git, and without
// .modpipeignore.
//
// # Ownership and failure
//
// A Result holds a tree, and no contents: Open reads a file when it is sent, and
// checks it against its digest, because the work tree may change in between
// (ErrChanged). A Result may own a temporary directory and git processes; Close
// removes and ends them.
//
// Every error says what to do. A snapshot is refused whole: a link that leads
// outside, or a workspace above the limits, is never left out silently. What is
// left out by a rule that the user may not expect is a warning.
package snapshot
