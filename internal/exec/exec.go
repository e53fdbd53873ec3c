package exec

import (
	"context"
	"io/fs"
	"time"

	"github.com/modpipe/modpipe/internal/mask"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// Executor executes modules in one way.
type Executor interface {
	// Start starts a task and does not wait for its end. Immediately before it
	// starts anything it calls Task.MayStart, and returns the error of that. It
	// writes to out until Wait of the Handle has returned. The error is a
	// *StartError when there are warnings beside it.
	Start(ctx context.Context, t *Task, out Sink) (Handle, error)
}

// Handle is a task that was started. Supervise calls its methods.
type Handle interface {
	// Wait returns when the execution has ended, nothing of it is left and all
	// its output was written. It is called once.
	Wait() Result
	// Stop asks the execution to end, and returns without waiting. Without a
	// grace it ends it by force. It may be called several times.
	Stop(s Stop)
	// Ran is for how long the execution has run, without the time in which it
	// was suspended, and whether it has ended. After the end it does not grow.
	Ran() (d time.Duration, ended bool)
}

// Sink receives the output of an execution. Write may block, which slows the
// execution down. It is safe for concurrent use, and does not keep data.
type Sink interface {
	Write(stream jobs.Stream, data []byte)
}

// Task is one attempt to execute.
type Task struct {
	Job     *jobs.Job
	Needs   map[string]jobs.Need // how its direct needs ended, with their values
	Worker  string               // name of this worker
	Fencing uint64               // fencing token; 0 = it holds no key
	Dir     string               // the workspace of the attempt; "" = the executor prepares one
	// Files opens the artifacts that a function consumes as values; nil = it consumes none.
	Files Files
	// Variables are added to the environment of a process: of a command, and of a
	// function in a process of its own.
	Variables []pipeline.KeyValue
	// Secrets are those of the module, which only this attempt receives.
	Secrets []mask.Secret
	// Mask masks them in the output and in the result; nil = it has none that are masked.
	Mask  *mask.Masker
	Stops Stops
	// Spent is how much of its time-out was used up before the start.
	Spent time.Duration
	// Leased reports whether the lease of the worker lets the attempt start; nil
	// = it does.
	Leased func() bool
}

// Files opens the artifacts that an attempt consumes: see call.Files.
type Files interface {
	Open(ctx context.Context, module, name string) (fs.FS, error)
	Unpack(ctx context.Context, module, name, dir string) error
}

// Stops holds the requests to end an attempt. The first one decides how the
// attempt ends; later ones can only shorten the grace.
type Stops interface {
	// Changed receives a token after a request.
	Changed() <-chan struct{}
	// Asked returns the request, if there is one.
	Asked() (Stop, bool)
	// Ask adds a request.
	Ask(Stop)
}

// Stop is a request to end an attempt.
type Stop struct {
	Status report.AttemptStatus // how the attempt ends, whatever the execution returns
	Text   string               // for people
	Grace  time.Duration        // between the request and the end by force; 0 = by force immediately
}

// Result is how an execution ended.
type Result struct {
	Status   report.AttemptStatus
	Error    string // for people; empty after a success
	ExitCode *int   // of a command
	Warnings []string
	Unable   bool // the machine could not begin it: the attempt is handed back
	Started  time.Time
	Finished time.Time // Started is zero when nothing started

	Outputs map[string]string // of a command
	// OutputFault is what is wrong with what the command has set. It fails an
	// attempt that would have succeeded, and is a warning for others.
	OutputFault error

	Typed      bool             // Value is what a Go function returned
	Value      []byte           // msgpack
	Reason     string           // why a function skipped its module
	Permanent  bool             // the failure is not to be retried
	Ignorable  bool             // the module's predicate lets the failure be ignored
	RetryAfter time.Duration    // before the next attempt; 0 = by the policy
	Artifacts  []jobs.Artifact  // that the attempt has left; the worker stores them
	CacheDirs  []jobs.StoredDir // likewise
	Hermetic   bool             // only declared files were there
	Place      string           // jobs.Outcome.Place
	Gone       bool             // every process of the command has ended; never set for a function

	// Prepared is the command that a function has prepared. The attempt has not
	// ended: it goes on with this job.
	Prepared *jobs.Job

	// Abandoned is what to add to the reason of a stop that could not end the
	// execution; empty when it has ended.
	Abandoned string
}
