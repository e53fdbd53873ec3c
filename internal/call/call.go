// Package call defines how Go functions of a pipeline are called: a Request with
// everything that is known about an attempt, and the Response of the program that
// has the functions. Both are plain data, so that they can cross the boundary of a
// process.
package call

import (
	"context"
	"io"
	"io/fs"
	"time"

	"github.com/modpipe/modpipe/internal/mask"
	"github.com/modpipe/modpipe/pipeline"
)

// Program is a built definition, as workers, the command line and tests use it.
type Program interface {
	// Identity returns the program's name, executable and graph. Only a worker
	// of the same program takes its jobs.
	Identity() (pipeline.Program, error)
	// Call runs one attempt of a module: the condition, then the function, or
	// the preparation of the command. It returns soon when ctx ends.
	Call(ctx context.Context, req Request) Response
	// Fresh returns the same program with another run of its definition, so that
	// nothing is shared through variables that functions have captured.
	Fresh() Program
}

// Request asks for one attempt of a module.
type Request struct {
	Run      string            `msgpack:"run"`
	Pipeline string            `msgpack:"pipeline"`
	Module   string            `msgpack:"module"`
	Worker   string            `msgpack:"worker"`
	Number   int               `msgpack:"number"`
	Fence    uint64            `msgpack:"fence"` // the fencing token; 0 = it holds no key
	Function string            `msgpack:"function"`
	Uses     bool              `msgpack:"uses"` // Function is one that a file names
	Matrix   map[string]string `msgpack:"matrix"`
	Params   map[string]any    `msgpack:"params"`
	With     map[string]string `msgpack:"with"`
	Needs    map[string]Need   `msgpack:"needs"` // direct needs, by declared name

	Stubbed bool `msgpack:"stubbed"` // only the condition is asked for: Skipped says that it is false

	// Dir is the directory of the attempt: what a module produces is looked for
	// below it, and consumed artifacts are restored there. "" = it has none.
	Dir string `msgpack:"dir"`

	// Env are variables for a process that runs this attempt only.
	Env map[string]string `msgpack:"env"`
	// Opens are the artifacts that Files opens.
	Opens []Opened `msgpack:"opens"`

	// Secrets are the secrets of the module. They never enter a file.
	Secrets []mask.Secret `msgpack:"-"`

	Files     Files           `msgpack:"-"` // opens consumed artifacts; nil = none can be opened here
	Log       io.Writer       `msgpack:"-"` // takes the lines of the function's logger
	Abandoned <-chan struct{} `msgpack:"-"` // closed when the caller has stopped waiting; may be nil
}

// Opened is an artifact that an attempt opens.
type Opened struct {
	Module string `msgpack:"module"`
	Name   string `msgpack:"name"`
	Dir    string `msgpack:"dir"` // where it was unpacked for another process; "" = it was not
}

// Files opens the artifacts that an attempt consumes with pipeline.Consume.Open.
// module is the declared name of the need, and name that of the artifact. Of a
// family, the files of each member are below the token of the member. The
// error of an artifact that was not left, which pipeline.Module.MayLack
// allows, is fs.ErrNotExist.
type Files interface {
	// Open returns the files of an artifact. A file is fetched when it is opened.
	// Opening and reading fail when ctx has ended.
	Open(ctx context.Context, module, name string) (fs.FS, error)
	// Unpack writes the files of an artifact below dir, which it creates.
	Unpack(ctx context.Context, module, name, dir string) error
}

// Need is how a direct need ended.
type Need struct {
	Status  string            `msgpack:"status"`
	Reason  string            `msgpack:"reason"`
	Outputs map[string]string `msgpack:"outputs"` // of a command
	Typed   bool              `msgpack:"typed"`   // Result is what a Go function returned
	Result  []byte            `msgpack:"result"`
	Members []Member          `msgpack:"members"` // of a family
}

// Member is how one member of a needed family ended.
type Member struct {
	Status string `msgpack:"status"`
	Result []byte `msgpack:"result"`
}

// Response is how it ended. At most one of Error and Skipped says that there
// is no result.
type Response struct {
	Result     []byte            `msgpack:"result"`
	Began      bool              `msgpack:"began"` // the function was called: a condition did not come first
	Error      string            `msgpack:"error"`
	Permanent  bool              `msgpack:"permanent"` // not to be tried again
	Ignorable  bool              `msgpack:"ignorable"` // the module's predicate says that the error may be ignored
	RetryAfter time.Duration     `msgpack:"retry_after"`
	Skipped    bool              `msgpack:"skipped"`
	Reason     string            `msgpack:"reason"`   // of a skip
	Prepared   bool              `msgpack:"prepared"` // it was for a command, which is to be run with Env and Stdin
	Env        map[string]string `msgpack:"env"`
	Stdin      []byte            `msgpack:"stdin"`
}
