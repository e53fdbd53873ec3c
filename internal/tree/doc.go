// Package tree takes, describes and writes sets of files below one directory, as
// Merkle trees.
//
// A Tree is a list of files in the order of their paths. Its digest is that of
// its root node: a node lists the entries of one directory, with the digest of
// each file's content and of each directory's node. One changed file changes the
// nodes on its path only, and equal digests mean equal trees. Select, Below and
// Merge make trees from trees, Diff compares them, and AppendFiles and DecodeFiles
// carry them in pieces.
//
// A tree holds regular files, of whose mode only the executable bit counts, empty
// directories, and symbolic links whose target stays inside the tree. It holds
// no times: Write gives all its files one time. A tree never changes, and any
// number of goroutines may read it.
//
// # Content
//
// A Tree holds no content. Take hands each file that it reads to a Keeper, and
// Write asks a Content for each file that it creates. A store on disk is both. An
// Index remembers digests, so that Take does not read what has not changed.
//
// # What is safe
//
// Take and Write touch files only through the os.Root of their caller, one
// directory at a time, and never go through a symbolic link. A link in a tree
// begins with its upward steps, which start from a real directory, and does not
// climb past the top. So neither a tree from others nor a directory
// prepared by others leads outside.
//
// # How it fails
//
// Every error names the path. New and DecodeFiles believe nothing: they check
// paths, links, sizes and lengths before they allocate. Take reads a file that
// changes during this again, up to three times. Write removes a file that it
// could not complete; what it wrote before stays. The first error ends the work
// of all goroutines; Take and Write return when all of them have ended.
//
// A Tree in memory takes about 200 bytes a file. Nothing here speaks with NATS.
package tree
