package pipeline

import (
	"fmt"
	"slices"
	"time"
)

// Pipeline is a validated graph, bound to its parameters. It is plain data:
// it travels in a run's log, so that any orchestrator can go on with the run.
// Nothing may change it after Bind has returned it.
type Pipeline struct {
	Name          string            `msgpack:"name"`
	Params        map[string]any    `msgpack:"params,omitempty"`                     // bound values: string, bool, int64 or float64; ParamValues has the exact ones
	Decimals      map[string]string `msgpack:"decimals,omitempty" json:",omitempty"` // how numbers were written that a float64 of Params changes
	Env           []Var             `msgpack:"env,omitempty"`                        // of every module, the pipeline's own; values may read params only
	PassEnv       []string          `msgpack:"pass_env,omitempty"`
	RequiredEnv   []string          `msgpack:"required_env,omitempty" json:",omitempty"` // those of PassEnv that a worker must have
	FailSlow      bool              `msgpack:"fail_slow,omitempty"`
	Deadline      time.Duration     `msgpack:"deadline,omitempty"`                         // over the whole run; 0 = none
	Limits        map[string]int    `msgpack:"limits,omitempty"`                           // name, as modules name it → how many may hold it at the same time
	ClusterLimits []string          `msgpack:"cluster_limits,omitempty" json:",omitempty"` // those of Limits that all runs share, sorted
	Isolated      bool              `msgpack:"isolated,omitempty"  json:",omitempty"`      // every module runs in a copy of the workspace
	Workspace     *Workspace        `msgpack:"workspace,omitempty" json:",omitempty"`      // nil = the default
	Modules       []*Module         `msgpack:"modules"`                                    // in the order of the file; members of a family in the order of its expansion, in the family's place
	Warnings      Faults            `msgpack:"-" json:"-"`                                 // of its file, for its author: they do not travel
	Families      map[string][]int  `msgpack:"families,omitempty"`                         // name → indices of the members in Modules; of a family that is not expanded yet: its one placeholder
}

// Module is one node of the graph, or the placeholder of a family whose
// members are known only when what its axes read has ended (Dynamic is set).
type Module struct {
	Name        string       `msgpack:"name"`  // "build", or of a member "build (os=linux, arch=amd64)"
	Token       string       `msgpack:"token"` // [A-Za-z0-9_-]: names the module in subjects; unique in the run
	Family      string       `msgpack:"family,omitempty"`
	Matrix      []Coordinate `msgpack:"matrix,omitempty"` // axis and value, in the order written
	Dynamic     *Dynamic     `msgpack:"dynamic,omitempty"`
	Description string       `msgpack:"description,omitempty"`
	Category    string       `msgpack:"category,omitempty"`
	Unselected  bool         `msgpack:"unselected,omitempty"` // left out of this run by selection
	Needs       []Need       `msgpack:"-"`                    // of modules that need the same, one list: it travels once (jobs.Spec)
	If          string       `msgpack:"if,omitempty"`         // source of a boolean expression, without ${{ }}; empty = true
	IfAt        string       `msgpack:"if_at,omitempty"`      // FILE:LINE:COLUMN of it, for messages
	Command     *Command     `msgpack:"command,omitempty"`    // the executor
	Func        *Func        `msgpack:"func,omitempty"`       // the executor, or what prepares the command
	Outputs     []string     `msgpack:"outputs,omitempty"`    // declared names; nil = unchecked
	Requires    Requirements `msgpack:"requires"`             // with the shell among the tools
	Slots       int          `msgpack:"slots"`                // at least 1
	Policy      Policy       `msgpack:"policy"`
	Produce     []Produce    `msgpack:"produce,omitempty" json:",omitempty"`
	Consume     []Consume    `msgpack:"consume,omitempty" json:",omitempty"`
	Cache       *Cache       `msgpack:"cache,omitempty" json:",omitempty"`
	CacheDirs   []CacheDir   `msgpack:"cache_dirs,omitempty" json:",omitempty"` // in the order written
	Secrets     []Secret     `msgpack:"secrets,omitempty" json:",omitempty"`    // in the order written
	Late        []Late       `msgpack:"late,omitempty" json:",omitempty"`       // texts of Produce, Consume and CacheDirs that read needs or hashFiles: see ResolveFiles
}

// Policy says how a module is run, retried, ordered and kept apart.
type Policy struct {
	AlwaysRun        bool          `msgpack:"always_run,omitempty"`
	IgnoreFailure    bool          `msgpack:"ignore_failure,omitempty"`
	IgnoreIf         bool          `msgpack:"ignore_if,omitempty" json:",omitempty"` // IgnoreFailure counts for outcomes that are marked as ignorable
	Timeout          time.Duration `msgpack:"timeout"`                               // per attempt, from its start; 0 = none
	TimeoutByDefault bool          `msgpack:"timeout_by_default,omitempty"`          // the default: the message mentions it when the time is over
	Grace            time.Duration `msgpack:"grace"`                                 // between TERM and KILL
	QueueTimeout     time.Duration `msgpack:"queue_timeout"`                         // while no capable worker lives
	MaxLosses        int           `msgpack:"max_losses"`
	Retry            Retry         `msgpack:"retry"`
	Exclusive        bool          `msgpack:"exclusive,omitempty"`                      // not-in-parallel: true
	Keys             []string      `msgpack:"keys,omitempty"`                           // not-in-parallel, sorted, without duplicates
	ClusterKeys      []string      `msgpack:"cluster_keys,omitempty" json:",omitempty"` // those of Keys that all runs share, sorted
	Limits           []string      `msgpack:"limits,omitempty"`                         // names in Pipeline.Limits, sorted, without duplicates
	Priority         Priority      `msgpack:"priority"`
	// SecretsInArtifacts stores artifacts and cache directories also with secrets in them.
	SecretsInArtifacts bool `msgpack:"secrets_in_artifacts,omitempty" json:",omitempty"`
}

// Retry says which ends of an attempt are tried again.
type Retry struct {
	Attempts  int           `msgpack:"attempts"` // that ran to an end, the first included; at least 1
	Delay     time.Duration `msgpack:"delay"`
	MaxDelay  time.Duration `msgpack:"max_delay"`
	ExitCodes []int         `msgpack:"exit_codes,omitempty"` // nil: any failure and a time-out
}

// Priority orders what is ready.
type Priority int

// The priorities; the zero value is what a module has that names none.
const (
	Low      Priority = -1
	Normal   Priority = 0
	High     Priority = 1
	Critical Priority = 2
)

// KeyValue is a variable or a label, with its value.
type KeyValue struct {
	Key   string `msgpack:"axis"`
	Value string `msgpack:"value"`
}

// Coordinate is an axis of a matrix and a value on it.
type Coordinate struct {
	Axis  string `msgpack:"axis"`
	Value string `msgpack:"value"`
}

// Var is an environment variable.
type Var struct {
	Name  string `msgpack:"name"`
	Value Text   `msgpack:"value"`
}

// Text is a string with expressions in it. What is known when the graph is
// made (params, and the matrix of a static family) has been put in already;
// what is left reads needs.
type Text []Part

// Part is a piece of a Text: literal, or the source of an expression.
type Part struct {
	Literal string `msgpack:"l,omitempty"`
	Expr    string `msgpack:"e,omitempty"`
	At      string `msgpack:"a,omitempty"` // of an expression: FILE:LINE:COLUMN, for messages
}

// Command is a module's executor: text for a shell, or words without one.
type Command struct {
	Run     string   `msgpack:"run,omitempty"`
	Shell   string   `msgpack:"shell,omitempty"`    // sh, bash, pwsh, python; set with Run
	Args    []Text   `msgpack:"args,omitempty"`     // exactly one of Run and Args is set
	Dir     string   `msgpack:"dir,omitempty"`      // below the workspace, slash-separated
	Env     []Var    `msgpack:"env,omitempty"`      // the module's own
	PassEnv []string `msgpack:"pass_env,omitempty"` // pipeline's and module's together
	Stdin   Text     `msgpack:"stdin,omitempty"`
}

// Requirements are what a worker must offer. Words are in lower case.
type Requirements struct {
	OS     string     `msgpack:"os,omitempty"`
	Arch   string     `msgpack:"arch,omitempty"`
	Tools  []Tool     `msgpack:"tools,omitempty"`  // sorted by name
	Tags   []string   `msgpack:"tags,omitempty"`   // sorted
	Labels []KeyValue `msgpack:"labels,omitempty"` // sorted by Key
	CPUs   int        `msgpack:"cpus,omitempty"`   // at least
	Memory int64      `msgpack:"memory,omitempty"` // bytes, at least

	Secrets []string `msgpack:"secrets,omitempty" json:",omitempty"` // names of those that the worker must have itself, sorted
	Env     []string `msgpack:"env,omitempty" json:",omitempty"`     // variables of its own environment that the worker must give the module, sorted

	Program *Program `msgpack:"program,omitempty"` // whose functions the module is made of
	// Repository is that of the files which the run takes along. A worker that
	// runs modules in a directory of its own must have the same one there; others
	// serve any. "" = the run takes no files.
	Repository string `msgpack:"repository,omitempty" json:",omitempty"`
}

// fit checks that they are not too long for the message that tells workers.
func (r *Requirements) fit() error {
	const each = 16 // what the encoding adds to a word, at most
	n := each * (len(r.Tools) + len(r.Tags) + len(r.Labels))
	for _, t := range r.Tools {
		n += len(t.Name) + len(t.Min)
	}
	for _, t := range r.Tags {
		n += len(t)
	}
	for _, s := range slices.Concat(r.Secrets, r.Env) {
		n += each + len(s)
	}
	for _, l := range r.Labels {
		n += len(l.Key) + len(l.Value)
	}
	if n > maxRequirements {
		return fmt.Errorf("the tools, tags, labels, secrets and variables are %d bytes long; a worker is told at most %d KiB", n, maxRequirements>>10)
	}
	return nil
}

// Tool is an executable on a worker's PATH, of any version or of Min and above.
type Tool struct {
	Name string `msgpack:"name"`
	Min  string `msgpack:"min,omitempty"` // dotted number; empty = any version, never asked for
}

// Dynamic is what a family still lacks: the axes that its needs' results
// give, and the declaration of a member.
type Dynamic struct {
	Reads    []string `msgpack:"reads"`    // the direct needs that the axes read: the family is expanded when these have ended
	Template []byte   `msgpack:"template"` // the declaration, in this package's own encoding

	// Of a family that a program declares: what every member is, and what
	// their tokens begin with. The one axis is the list that Reads gives.
	Member *Module `msgpack:"member,omitempty"`
	Prefix string  `msgpack:"prefix,omitempty"`
}

// NeedView is how a direct need ended, as expressions see it.
type NeedView struct {
	Status  string // a terminal status of design: "succeeded", "failed", …; of a family, as one need would decide
	Reason  string
	Outputs map[string]string // nil for a family
	Members []MemberView      // of a family
	Result  any               // of a Go function: what JSON would make of it
}

// MemberView is one member of a needed family.
type MemberView struct {
	Matrix  []Coordinate
	Status  string
	Outputs map[string]string
}

// Scope is what is known when a module has become ready: its direct needs by
// their declared names, and the files of the run's snapshot.
type Scope struct {
	Needs map[string]NeedView
	// HashFiles returns a digest of the names and contents of the snapshot's
	// files that match some of the globs; "" when none does. ResolveFiles and
	// ResolveKey call it, and only for a module of which Module.HashesFiles is true. Nil
	// = the run has no snapshot, and a text that needs it is an error.
	HashFiles func(globs []string) (string, error)
}

// String is the tool as a file writes it.
func (t Tool) String() string {
	if t.Min == "" {
		return t.Name
	}
	return t.Name + ">=" + t.Min
}

// String is the priority's word.
func (p Priority) String() string {
	switch {
	case p < Normal:
		return "low"
	case p == Normal:
		return "normal"
	case p == High:
		return "high"
	}
	return "critical"
}
