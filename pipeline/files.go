package pipeline

// Workspace says which files of the workspace a run takes along. The zero value
// is the default: what git tracks or does not ignore.
type Workspace struct {
	None    bool        `msgpack:"none,omitempty"` // workspace: false
	Include []string    `msgpack:"include,omitempty"`
	Exclude []string    `msgpack:"exclude,omitempty"`
	Git     GitHistory  `msgpack:"git,omitempty"`
	Also    []Directory `msgpack:"also,omitempty"` // further repositories
}

// GitHistory says how much of git's history a snapshot contains.
type GitHistory uint8

// The amounts of history.
const (
	NoHistory   GitHistory = iota
	LastCommit             // git: true
	FullHistory            // git: full: all commits and tags
)

// Directory is a second directory that a snapshot contains.
type Directory struct {
	Dir string `msgpack:"dir"` // relative to the workspace
	At  string `msgpack:"at"`  // where it appears in the snapshot
}

// Files is what a module takes and leaves beside its outputs: the fields of
// these names of a Module, with every expression put in.
type Files struct {
	Produce   []Produce
	Consume   []Consume
	CacheDirs []CacheDir
}

// Late is a text of Produce, Consume or CacheDirs that is known when the
// module has become ready. Until then the field holds the text as it is written.
type Late struct {
	Place string `msgpack:"place"` // which text: produce[0].name, cache-dirs.gomod.key
	Text  Text   `msgpack:"text"`
}

// Produce is an artifact that a module produces.
type Produce struct {
	Name     string   `msgpack:"name"`  // letters, digits, _ - and .; unique in the module
	Paths    []string `msgpack:"paths"` // globs relative to the workspace; with ! what they exclude
	Optional bool     `msgpack:"optional,omitempty"`
	When     When     `msgpack:"when,omitempty"`
}

// When says after which attempts an artifact is stored.
type When uint8

// The times.
const (
	OnSuccess When = iota
	OnFailure      // after a failure or a time-out
	Always
)

// Consume is an artifact that a module finds before it starts. That it is not
// there fails the module, unless Module.MayLack says otherwise.
type Consume struct {
	Name  string   `msgpack:"name"`                             // or a pattern: coverage-*; see Takes
	From  string   `msgpack:"from,omitempty"`                   // the module or family that produces it; "" = the only need that does
	To    string   `msgpack:"to,omitempty"`                     // directory below the workspace; "" = where the files were
	Merge bool     `msgpack:"merge,omitempty"`                  // members, and names of a pattern, into one directory instead of one directory each
	Same  []string `msgpack:"same,omitempty"`                   // axes: only members with the same value
	Open  bool     `msgpack:"open,omitempty" json:",omitempty"` // a Go function opens it: nothing is restored
	// FromRun takes the artifact from the last successful run instead of a need.
	FromRun *FromRun `msgpack:"from_run,omitempty"`
}

// FromRun selects an earlier run.
type FromRun struct {
	Pipeline string     `msgpack:"pipeline"`         // never empty: the pipeline itself unless another is named
	Labels   []KeyValue `msgpack:"labels,omitempty"` // that the run has, sorted by Key; none = any run
}

// Cache says on what the result of a cached module depends.
type Cache struct {
	Inputs   []string `msgpack:"inputs"`             // globs below the workspace; may be empty
	Key      []Text   `msgpack:"key,omitempty"`      // further texts that the result depends on: see ResolveKey
	Portable bool     `msgpack:"portable,omitempty"` // the result serves on every os and arch
}

// CacheDir is a directory that is kept between attempts.
type CacheDir struct {
	Name       string   `msgpack:"name"`
	Path       string   `msgpack:"path,omitempty"`    // below the workspace; exactly one of Path and Env is set
	Env        string   `msgpack:"env,omitempty"`     // elsewhere: the variable that holds its path
	Key        string   `msgpack:"key"`               // not empty
	Restore    []string `msgpack:"restore,omitempty"` // prefixes of keys, tried in order
	ReadOnly   bool     `msgpack:"read_only,omitempty"`
	FailOnMiss bool     `msgpack:"fail_on_miss,omitempty"`
}
