// Package secrets proves that nothing stores a secret: a run puts secrets everywhere a
// module can, and a search that shares no code with the masks looks through everything
// that is left. The same run without masks proves that the search finds them.
package secrets
