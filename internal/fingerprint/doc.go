// Package fingerprint computes the fingerprint of a cached module: a SHA-256 over
// everything that its result may depend on.
//
// A fingerprint consists of named parts (jobs.Part). Each part has a digest, and
// the fingerprint is the digest of the names and digests of all parts. A part
// that consists of named values, such as the environment, also keeps the digest
// of each value, so that Compare can say which variable differs. No value itself
// is kept.
//
// The parts are: the format's version, the command, the shell, its directory,
// standard input, what a file gives a function, the environment, the names of
// variables that come from the worker, the names of secrets, the declared
// outputs, artifacts as they are written, what the worker has to offer, the
// matrix, the tree of input files, the trees of consumed artifacts, the outputs of
// needs, the key, and for a Go function the program and the function. The names
// of the module, its run and its worker, priorities, retries and time-outs are not
// part of it.
//
// Of is a pure function. It reads what the module's job contains, because the
// job is all that a worker gets.
package fingerprint
