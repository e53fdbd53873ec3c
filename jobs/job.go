package jobs

import (
	"time"

	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// Job asks for one attempt of one module; it waits on its lane for a worker.
type Job struct {
	Run            RunID                 `msgpack:"run"`
	Pipeline       string                `msgpack:"pipeline"`
	Module         ModuleID              `msgpack:"token"`
	Name           string                `msgpack:"name"`
	Attempt        Attempt               `msgpack:"attempt"`
	Lane           Lane                  `msgpack:"lane"`
	Slots          int                   `msgpack:"slots"`
	Keyed          bool                  `msgpack:"keyed,omitempty"`       // holds a key or a limit: claims before it starts
	ClaimFirst     bool                  `msgpack:"claim_first,omitempty"` // without a key: claims before it starts all the same, since workers were lost under it, or it has secrets
	Fence          uint64                `msgpack:"fence,omitempty"`       // last sequence of the module's cell when it was published; 0 = empty cell
	Epoch          uint64                `msgpack:"epoch"`
	StoreBy        time.Time             `msgpack:"store_by"`        // a copy stored later is doubtful
	MaybeDuplicate bool                  `msgpack:"again,omitempty"` // a copy may have been published before: doubtful
	Matrix         []pipeline.Coordinate `msgpack:"matrix,omitempty"`
	Command        *CommandJob           `msgpack:"command,omitempty"`
	Func           *FuncJob              `msgpack:"func,omitempty"` // a Go function, or what prepares the command
	Timeout        time.Duration         `msgpack:"timeout,omitempty"`
	DefaultTimeout bool                  `msgpack:"default_timeout,omitempty"`
	Grace          time.Duration         `msgpack:"grace"`
	Needs          map[string]Need       `msgpack:"needs,omitempty"` // direct needs by declared name: $MODPIPE_NEEDS; of a Go function those that it hears of, with the results that it reads
	Trace          string                `msgpack:"trace,omitempty"`
	Warnings       []string              `msgpack:"warnings,omitempty"` // of its expressions: they come back with the outcome
	Commit         string                `msgpack:"commit,omitempty"`   // of the workspace: $MODPIPE_COMMIT
	Files          *JobFiles             `msgpack:"files,omitempty"`    // nil = the attempt runs in the directory of its worker, or an empty one
	Key            []byte                `msgpack:"key,omitempty"`      // of the attempt: its worker signs with it what it writes, and verifies what it is told; nil = of a run without keys
	Secrets        []pipeline.Secret     `msgpack:"secrets,omitempty"`
	Rank           Rank                  `msgpack:"-"` // travels in a header
}

// CommandJob is a command with every expression put in.
type CommandJob struct {
	Run     string              `msgpack:"run,omitempty"`
	Shell   string              `msgpack:"shell,omitempty"`
	Args    []string            `msgpack:"args,omitempty"`
	Dir     string              `msgpack:"dir,omitempty"`
	Env     []pipeline.KeyValue `msgpack:"env,omitempty"` // what wins comes last
	PassEnv []string            `msgpack:"pass_env,omitempty"`
	// RequiredEnv are those of PassEnv without which the command must not start.
	RequiredEnv []string `msgpack:"required_env,omitempty"`
	Stdin       string   `msgpack:"stdin,omitempty"`
}

// FuncJob is a Go function that the worker finds in its own program.
type FuncJob struct {
	Name   string            `msgpack:"name"`
	Uses   bool              `msgpack:"uses,omitempty"`
	With   map[string]string `msgpack:"with,omitempty"`   // what a file gives it
	Params map[string]any    `msgpack:"params,omitempty"` // of the run
}

// Need is how a direct need ended.
type Need struct {
	Status  report.Status `msgpack:"status"`
	Reason  string        `msgpack:"reason,omitempty"`
	Outputs Value         `msgpack:"outputs"`
	Family  bool          `msgpack:"family,omitempty"`  // it has members in the place of outputs, perhaps none
	Members []Member      `msgpack:"members,omitempty"` // of a family
}

// Member is how one member of a needed family ended.
type Member struct {
	Matrix  []pipeline.Coordinate `msgpack:"matrix"`
	Status  report.Status         `msgpack:"status"`
	Outputs Value                 `msgpack:"outputs"`
}

// LogChunk is a piece of what an attempt has written, in order.
type LogChunk struct {
	Writer string    `msgpack:"w,omitempty"` // the nonce of the delivery: a module without a key may, rarely, run twice as one attempt
	Number int       `msgpack:"n"`           // from 1, of its writer
	Time   time.Time `msgpack:"t"`
	Parts  []LogPart `msgpack:"p"`
}

// LogPart is a run of bytes of one stream.
type LogPart struct {
	Stream Stream `msgpack:"s"`
	Data   []byte `msgpack:"d"`
}

// Stream tells standard output from standard error.
type Stream uint8

// The two streams of a command.
const (
	Stdout Stream = 1
	Stderr Stream = 2
)

// WorkerInfo is what a worker says of itself with every heartbeat.
type WorkerInfo struct {
	Name         string         `msgpack:"name"`
	Incarnation  string         `msgpack:"incarnation"`
	Version      string         `msgpack:"version"`
	Capabilities Capabilities   `msgpack:"capabilities"`
	Slots        int            `msgpack:"slots"`
	Used         int            `msgpack:"used"`
	Running      []RunningEntry `msgpack:"running,omitempty"`
	Draining     bool           `msgpack:"draining,omitempty"`
	LanesSeen    uint64         `msgpack:"lanes_seen"` // the last revision of the lanes' bucket that it has looked at
	Started      time.Time      `msgpack:"started"`
	PID          int            `msgpack:"pid,omitempty"`
	Host         string         `msgpack:"host,omitempty"`
	Place        string         `msgpack:"place,omitempty"`  // host and directory of its own workspace; "" = it makes directories
	Load         float64        `msgpack:"load,omitempty"`   // one-minute load average, where the system has one
	Unable       string         `msgpack:"unable,omitempty"` // why it takes no attempts: its machine cannot begin them; empty = it can
	// Settled: its connection has stood for the time to live of this entry, so
	// NATS was not restarted within that time.
	Settled bool `msgpack:"settled,omitempty"`
	// Box is the public curve key for which keys are sealed that only this worker may
	// read; "" = it verifies no messages.
	Box string `msgpack:"box,omitempty"`
	// Greeted names the signing keys of the orchestrators that have greeted it.
	Greeted []string `msgpack:"greeted,omitempty"`
	// Ignored counts the control messages that it has not believed.
	Ignored int `msgpack:"ignored,omitempty"`
}

// RunLease names the orchestrator that may act, and lives for a few seconds unless it is renewed.
type RunLease struct {
	Holder   string `msgpack:"holder"`            // the orchestrator's name
	Instance string `msgpack:"instance"`          // new at every acquisition: tells its writes from others'
	Epoch    uint64 `msgpack:"epoch,omitempty"`   // of its takeover in the run's log, once that is recorded
	Problem  string `msgpack:"problem,omitempty"` // why the holder has set the run aside; empty = it acts
	Unread   bool   `msgpack:"-"`                 // a newer version of the program wrote it: only Holder is meaningful
	Full     bool   `msgpack:"full,omitempty"`    // of one that serves: it decides for as many runs as it may
	// Keys names the signing keys of one that serves. It takes runs of these keys.
	Keys []string `msgpack:"keys,omitempty"`
}

// MostListed is how many of its attempts a worker names: the entry must fit
// into one message of any server. Orchestrators decide by the claims.
const MostListed = 500

// RunningEntry is one attempt that a worker runs.
type RunningEntry struct {
	Run     RunID    `msgpack:"run"`
	Module  ModuleID `msgpack:"token"`
	Attempt Attempt  `msgpack:"attempt"`
	Nonce   string   `msgpack:"nonce,omitempty"` // of the delivery; empty from workers of an older version
}

// Capabilities are what a worker offers. Words are in lower case.
type Capabilities struct {
	OS      string            `msgpack:"os"`
	Arch    string            `msgpack:"arch"`
	CPUs    int               `msgpack:"cpus"`
	Memory  int64             `msgpack:"memory"`            // bytes
	Program *pipeline.Program `msgpack:"program,omitempty"` // whose Go functions it has
	Tools   map[string]string `msgpack:"tools,omitempty"`   // those that some lane asks for → version; "" = not asked for or unknown
	Tags    []string          `msgpack:"tags,omitempty"`
	Labels  map[string]string `msgpack:"labels,omitempty"`
	Secrets []string          `msgpack:"secrets,omitempty"` // names of those that it has itself, with their case; sorted
	Env     []string          `msgpack:"env,omitempty"`     // names and patterns of the variables that it gives modules which ask for them
	// Repository is that of the files in the worker's own workspace; "" = it has
	// none, and makes a directory for each attempt.
	Repository string `msgpack:"repository,omitempty"`
}

// Control is a request to a worker, over core NATS, on a subject of its own. It
// may be lost, so it is repeated until the log shows its effect.
type Control struct {
	Cancel *CancelAttempt `msgpack:"cancel,omitempty"`
	Drain  *Drain         `msgpack:"drain,omitempty"`
	Probe  *Probe         `msgpack:"probe,omitempty"`
	Answer *Answer        `msgpack:"answer,omitempty"`
	Greet  *Greeting      `msgpack:"greet,omitempty"`
}

// Greeting is the answer of an orchestrator to the registration of a worker: the key
// with which orchestrators sign messages to it that concern no attempt.
type Greeting struct {
	Incarnation string `msgpack:"incarnation"` // of the worker
	ID          string `msgpack:"id"`          // of the signing key from which it follows
	Key         []byte `msgpack:"key"`         // sealed for the worker's Box
}

// CancelAttempt asks the worker of an attempt to end it.
type CancelAttempt struct {
	Run     RunID    `msgpack:"run,omitempty"`
	Module  ModuleID `msgpack:"token"`
	Attempt Attempt  `msgpack:"attempt"`
	Kill    bool     `msgpack:"kill,omitempty"` // without TERM and grace
	Reason  string   `msgpack:"reason,omitempty"`

	TimedOut bool `msgpack:"timed_out,omitempty"` // its time is over, by the clock of the log: it ends so, not as cancelled
}

// Drain asks a worker to take nothing new, finish what it runs, and go.
type Drain struct {
	By string `msgpack:"by"`
}

// String is the stream's word.
func (s Stream) String() string {
	if s == Stderr {
		return "stderr"
	}
	return "stdout"
}
