package jobs

import (
	"time"

	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// Record is one message of a run's log: exactly one of its fields is set.
type Record struct {
	Spec      *Spec         `msgpack:"spec,omitempty"`
	Claim     *Claim        `msgpack:"claim,omitempty"`
	Outcome   *Outcome      `msgpack:"outcome,omitempty"`
	Takeover  *Takeover     `msgpack:"takeover,omitempty"`
	Grant     *Grant        `msgpack:"grant,omitempty"`
	Expansion *Expansion    `msgpack:"expansion,omitempty"`
	Nobody    *LaneUnserved `msgpack:"nobody,omitempty"`
	Note      *Note         `msgpack:"note,omitempty"`
	Released  *Released     `msgpack:"released,omitempty"`
	Rejected  *Rejected     `msgpack:"rejected,omitempty"`
	Cancel    *Cancel       `msgpack:"cancel,omitempty"`
	End       *End          `msgpack:"end,omitempty"`
}

// Entry is a record with its place in the log.
type Entry struct {
	Sequence uint64    // its position in the stream: grows, with gaps
	Time     time.Time // when the server stored it: the clock of the run
	Cell     ModuleID  // the module whose cell it is in; empty for the run's own subjects
	Record   Record
	Unread   error // why the record cannot be read; Record is empty then
	Cancels  bool  // with Unread: it is among the cancellations
	Auth     Authenticity
}

// Authenticity is what a reader knows of who has written a record of a cell. The
// records on other subjects have none.
type Authenticity uint8

// The authenticities.
const (
	Unverified Authenticity = iota // the reader does not have the key
	Verified                       // it is signed with the key of its attempt
	Forged                         // it is not
)

// Spec is the run as it was submitted; the first record of its log.
type Spec struct {
	Run        RunID               `msgpack:"run"`
	Pipeline   *pipeline.Pipeline  `msgpack:"pipeline"`
	Env        []pipeline.KeyValue `msgpack:"env,omitempty"` // run --env over --env-file: between the pipeline's and the module's
	Labels     map[string]string   `msgpack:"labels,omitempty"`
	StartedBy  string              `msgpack:"started_by,omitempty"` // user@host
	Repository string              `msgpack:"repository,omitempty"` // of the files that it takes along; "" = it takes none
	Commit     string              `msgpack:"commit,omitempty"`     // of the workspace, where it is a git work tree
	Trace      string              `msgpack:"trace,omitempty"`      // TRACEPARENT of the run
	RetryOf    RunID               `msgpack:"retry_of,omitempty"`   // the run that this one does again from what failed
	Kept       []Kept              `msgpack:"kept,omitempty"`       // what of RetryOf need not be done again
	Origin     *Origin             `msgpack:"origin,omitempty"`     // what Pipeline was made of; nil where an older program submitted the run
	// Registry tells the registry of workers that was there when the run was
	// submitted: when it was made. It is in memory, so while the registry is the
	// same one NATS was not restarted, and has lost nothing of the run. Zero =
	// it did not exist.
	Registry  time.Time   `msgpack:"registry,omitempty"`
	Workspace *Snapshot   `msgpack:"workspace,omitempty"` // nil = none was taken
	Isolated  bool        `msgpack:"isolated,omitempty"`  // every attempt runs in a copy of the workspace
	Cache     CachePolicy `msgpack:"cache,omitempty"`
	Earlier   []Earlier   `msgpack:"earlier,omitempty"` // what its modules consume of other runs
}

// Origin is what a pipeline was made of: with it the pipeline can be made
// again, with other parameters.
type Origin struct {
	File      string             `msgpack:"file,omitempty"`    // name of the pipeline file, for messages
	Text      []byte             `msgpack:"text,omitempty"`    // of the file
	Program   *pipeline.Program  `msgpack:"program,omitempty"` // instead of a file: the program that defines the pipeline
	Params    map[string]string  `msgpack:"params,omitempty"`  // that were given, as text
	Env       map[string]string  `msgpack:"env,omitempty"`     // variables from which parameters have their values
	Selection pipeline.Selection `msgpack:"selection"`
	Narrowed  bool               `msgpack:"narrowed,omitempty"` // a retry has chosen modules: Pipeline says which are selected
}

// Kept is a module that has succeeded in an earlier run, with what it gave.
type Kept struct {
	Module    string     `msgpack:"module"`
	Outputs   Value      `msgpack:"outputs"`
	Artifacts []Artifact `msgpack:"artifacts,omitempty"`
}

// Claim says that a worker has started, or is about to start, an attempt.
type Claim struct {
	Attempt     Attempt   `msgpack:"attempt"`
	Worker      string    `msgpack:"worker"`
	Incarnation string    `msgpack:"incarnation"` // new at every start of the worker
	Nonce       string    `msgpack:"nonce"`       // new at every delivery
	Started     time.Time `msgpack:"started"`     // the worker's clock
	// XKey is the public key, new for every delivery, to which the secrets of the
	// attempt are sealed; "" = the module has none that an orchestrator sends.
	XKey string `msgpack:"xkey,omitempty"`
}

// Outcome ends an attempt, or with Attempt 0 a module that has none: by a
// condition (skipped, failed), for want of a worker (failed), or with a result of
// the cache (succeeded, and Cached is set).
type Outcome struct {
	Attempt     Attempt              `msgpack:"attempt"`
	Status      report.AttemptStatus `msgpack:"status"`
	Worker      string               `msgpack:"worker,omitempty"` // the one that ran it, or is thought to have run it; empty without a claim
	Incarnation string               `msgpack:"incarnation,omitempty"`
	Nonce       string               `msgpack:"nonce,omitempty"`
	By          string               `msgpack:"by,omitempty"`        // name of the orchestrator, when it records in the worker's place
	ExitCode    *int                 `msgpack:"exit_code,omitempty"` // nil where nothing exited; 128 + n after signal n
	Error       string               `msgpack:"error,omitempty"`
	Reason      string               `msgpack:"reason,omitempty"` // of a skip
	Outputs     Value                `msgpack:"outputs"`
	Started     time.Time            `msgpack:"started,omitempty"` // the worker's clock; zero when nothing started
	Finished    time.Time            `msgpack:"finished,omitempty"`
	LogChunks   int                  `msgpack:"log_chunks,omitempty"`  // how many chunks of log the attempt has published
	Permanent   bool                 `msgpack:"permanent,omitempty"`   // not to be retried
	Ignorable   bool                 `msgpack:"ignorable,omitempty"`   // the module's own predicate says that the failure may be ignored
	RetryAfter  time.Duration        `msgpack:"retry_after,omitempty"` // instead of the policy's delay
	NoWorker    bool                 `msgpack:"no_worker,omitempty"`   // attempt 0: the queue time-out struck
	Warnings    []string             `msgpack:"warnings,omitempty"`
	Unable      bool                 `msgpack:"unable,omitempty"` // handed back because the worker's machine could not begin it; Error says why
	Artifacts   []Artifact           `msgpack:"artifacts,omitempty"`
	Hermetic    bool                 `msgpack:"hermetic,omitempty"` // the attempt found its declared inputs and nothing else: its result may be shared
	// Place is the workspace of the worker (WorkerInfo.Place), when the attempt ran there
	// and found the inputs that the module declares as the snapshot has them, before and
	// after it: its result may serve there. "" = it does not.
	Place     string      `msgpack:"place,omitempty"`
	CacheDirs []StoredDir `msgpack:"cache_dirs,omitempty"`
	Cached    *Cached     `msgpack:"cached,omitempty"` // attempt 0: the result of an earlier attempt of the same fingerprint
}

// Cached says where a result comes from that was taken from the cache.
type Cached struct {
	Fingerprint string    `msgpack:"fingerprint"` // hex
	Namespace   string    `msgpack:"namespace"`   // of the entry
	Run         RunID     `msgpack:"run"`         // that stored it
	Module      string    `msgpack:"module"`      // by name, in that run
	Attempt     Attempt   `msgpack:"attempt"`
	By          string    `msgpack:"by,omitempty"` // who started that run: user@host
	When        time.Time `msgpack:"when"`         // when it was stored
	Log         Blob      `msgpack:"log"`          // the output of that attempt, in Namespace; empty = not kept
}

// Takeover names the orchestrator that decides for the run from here on.
type Takeover struct {
	Epoch        uint64 `msgpack:"epoch"`
	Orchestrator string `msgpack:"orchestrator"`
	// Key is the id of the signing key from which the keys of the run follow. The
	// first takeover of a run decides; "" = the run has no keys.
	Key string `msgpack:"key,omitempty"`
}

// Grant gives attempts the keys and limits of their modules, until each attempt is closed.
type Grant struct {
	Attempts []AttemptID `msgpack:"attempts"`
}

// Expansion makes the members of a family.
type Expansion struct {
	Module       ModuleID                `msgpack:"token"` // the placeholder's
	Combinations [][]pipeline.Coordinate `msgpack:"combinations"`
}

// LaneUnserved says that no capable worker is there for a lane any more, or
// (Over) that one is there again. Queue time-outs count from it.
type LaneUnserved struct {
	Lane    Lane   `msgpack:"lane"`
	Served  bool   `msgpack:"over,omitempty"`
	Missing string `msgpack:"missing,omitempty"` // in words
	Closest string `msgpack:"closest,omitempty"` // the live worker that lacks least; empty without one
	Final   bool   `msgpack:"final,omitempty"`   // no worker can come
}

// Note tells what was found out about the result of a cached module.
type Note struct {
	Module  ModuleID `msgpack:"token"`
	Flaky   bool     `msgpack:"flaky,omitempty"`   // attempts with the same fingerprint have failed and succeeded
	Warning string   `msgpack:"warning,omitempty"` // its result is not reproducible, and what differs
}

// Rejected names records of cells that are not signed with the key of their
// attempt. It is for readers without the key: who has the key knows them by itself.
type Rejected struct {
	Sequences []uint64 `msgpack:"sequences"`
}

// MaxRejected is how many sequences a Rejected has at most.
const MaxRejected = 1000

// Cancel asks for the end of the run. The second one ends always-run modules too.
type Cancel struct {
	ID       string `msgpack:"id"` // tells a repeated write from a second cancellation
	By       string `msgpack:"by"`
	Reason   string `msgpack:"reason"`
	Deadline bool   `msgpack:"deadline,omitempty"` // by the pipeline's deadline
}

// End is the verdict.
type End struct {
	Status  report.RunStatus `msgpack:"status"`
	Error   string           `msgpack:"error,omitempty"`
	Refused bool             `msgpack:"refused,omitempty"` // nothing of the run has begun: every module ends as cancelled
	Forced  bool             `msgpack:"forced,omitempty"`  // a person ended it without regard to its log: modules may have no end
}
