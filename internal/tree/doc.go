// Package tree describes sets of files below one directory as Merkle trees.
//
// A Tree is a list of files in the order of their paths. Its digest is that of
// its root node: a node lists the entries of one directory, with the digest of
// each file's content and of each directory's node. One changed file changes the
// nodes on its path only, and equal digests mean equal trees.
//
// A tree holds regular files, of whose mode only the executable bit counts, empty
// directories, and symbolic links whose target stays inside the tree. It holds
// no times: whoever writes a tree gives all its files one time.
//
// A Tree in memory takes about 200 bytes a file, and no content. Nothing here
// speaks with NATS.
package tree
