package jobs

import (
	"time"

	"github.com/modpipe/modpipe/pipeline"
)

// ValuesNamespace is the part of the store that holds the large values of runs:
// results, and records and jobs that are too long for a message. Names that begin with
// an underscore are no namespaces of users.
const ValuesNamespace = "_runs"

// Tree refers to a stored tree of files. The zero value is no tree.
type Tree struct {
	Root      string    `msgpack:"root,omitempty"`      // digest of the root node, in hex: equal trees have equal ones
	Manifest  string    `msgpack:"manifest,omitempty"`  // digest of the value that lists where the content is
	Namespace string    `msgpack:"namespace,omitempty"` // of the store in which manifest and content are
	Files     int       `msgpack:"files,omitempty"`
	Bytes     int64     `msgpack:"bytes,omitempty"` // of all files together
	Time      time.Time `msgpack:"time,omitempty"`  // which restored files get: when the tree was taken
}

// Snapshot is the state of a workspace that a run took when it was submitted.
type Snapshot struct {
	Tree   Tree   `msgpack:"tree"`
	Git    *Tree  `msgpack:"git,omitempty"` // a .git directory to put beside the files
	Commit string `msgpack:"commit,omitempty"`
	Dirty  bool   `msgpack:"dirty,omitempty"` // files differed from the commit
}

// Artifact is a tree that an attempt has produced under a name.
type Artifact struct {
	Name string `msgpack:"name"`
	Tree Tree   `msgpack:"tree"`
}

// JobFiles says which files an attempt finds, and which ones it leaves.
type JobFiles struct {
	Workspace *Tree    `msgpack:"workspace,omitempty"` // the run's snapshot
	Git       *Tree    `msgpack:"git,omitempty"`       // a .git directory to put beside the files
	Isolated  bool     `msgpack:"isolated,omitempty"`  // also a worker with a workspace of its own makes a directory
	Narrow    bool     `msgpack:"narrow,omitempty"`    // of the snapshot only what Inputs match is there
	Inputs    []string `msgpack:"inputs,omitempty"`
	// Namespace is the part of the store in which artifacts are stored.
	Namespace string             `msgpack:"namespace,omitempty"`
	Restore   []Restore          `msgpack:"restore,omitempty"`
	Produce   []pipeline.Produce `msgpack:"produce,omitempty"`
	CacheDirs []CacheDir         `msgpack:"cache_dirs,omitempty"`
	// SecretsInArtifacts stores artifacts and cache directories also with secrets in them.
	SecretsInArtifacts bool `msgpack:"secrets_in_artifacts,omitempty"`
}

// Restore is an artifact that an attempt consumes.
type Restore struct {
	Artifact
	Module string `msgpack:"module"`       // by name: who produced it
	To     string `msgpack:"to,omitempty"` // directory below the workspace; "" = the workspace itself
	// Open says that the function opens the artifact by the name of its Need: it is
	// not restored, and To is where its files are in what the function sees.
	Open bool   `msgpack:"open,omitempty"`
	Need string `msgpack:"need,omitempty"` // with Open: the need's declared name
}

// CachePolicy says how a run uses the cache.
type CachePolicy struct {
	Off       bool     `msgpack:"off,omitempty"`
	NoRead    bool     `msgpack:"no_read,omitempty"`  // --cache write
	NoWrite   bool     `msgpack:"no_write,omitempty"` // --cache read
	Refresh   bool     `msgpack:"refresh,omitempty"`  // run, and overwrite the entry
	Namespace string   `msgpack:"namespace,omitempty"`
	From      []string `msgpack:"from,omitempty"` // namespaces that are read besides
}

// Earlier is an artifact of a run that had ended before this one was submitted.
type Earlier struct {
	Pipeline  string              `msgpack:"pipeline"`
	Labels    []pipeline.KeyValue `msgpack:"labels,omitempty"`
	Name      string              `msgpack:"name"` // or a pattern, as the module consumes it
	Run       RunID               `msgpack:"run"`
	Artifacts []Restore           `msgpack:"artifacts"`
}
