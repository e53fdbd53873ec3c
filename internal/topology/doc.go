// Package topology spells the subjects, streams, buckets and consumers of modpipe,
// and nothing else spells them. ARCHITECTURE.md has the table.
//
// Every name begins with mp. Names of runs, modules, lanes and workers are single
// tokens of subjects (ValidToken). The functions that select several subjects
// return filters.
package topology
