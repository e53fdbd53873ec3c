package report

import "time"

// EventKind names an event of a run's stream.
type EventKind string

// The events, as scripts read them.
const (
	EventRunStarted     EventKind = "run.started"
	EventRunEnded       EventKind = "run.ended"
	EventModuleReady    EventKind = "module.ready"
	EventModuleStarted  EventKind = "module.started"
	EventModuleOutput   EventKind = "module.output"
	EventModuleRetrying EventKind = "module.retrying"
	EventModuleEnded    EventKind = "module.ended"
	EventFamilyExpanded EventKind = "family.expanded"
	EventWorkerJoined   EventKind = "worker.joined"
	EventWorkerLost     EventKind = "worker.lost"
	EventWaiting        EventKind = "waiting"
	EventSecretReleased EventKind = "secret.released"
)

// Event is one line of `--progress json`. Fields that do not belong to its
// kind are absent.
type Event struct {
	V        int        `json:"v"` // 1
	Time     time.Time  `json:"time"`
	Seq      uint64     `json:"seq"` // 1, 2, 3 …: in the log of the run, the same for every reader, and 0 for what the log does not give; in `--progress json`, of all lines
	Run      string     `json:"run"`
	Event    EventKind  `json:"event"`
	Module   string     `json:"module,omitempty"`
	Attempt  int        `json:"attempt,omitempty"`
	Worker   string     `json:"worker,omitempty"`
	Pipeline string     `json:"pipeline,omitempty"` // run.started
	Modules  int        `json:"modules,omitempty"`  // run.started, family.expanded: how many
	Status   string     `json:"status,omitempty"`   // *.ended
	Reason   string     `json:"reason,omitempty"`
	Error    string     `json:"error,omitempty"`
	Duration *float64   `json:"duration,omitempty"`  // seconds: *.ended
	In       *float64   `json:"in,omitempty"`        // seconds: module.retrying
	ExitCode *int       `json:"exit_code,omitempty"` // module.retrying, module.ended
	Stream   string     `json:"stream,omitempty"`    // module.output: stdout or stderr
	Text     string     `json:"text,omitempty"`      // module.output: one line without its end, cut with a mark after 1 MiB; bytes that are not UTF-8 as U+FFFD
	Slots    int        `json:"slots,omitempty"`     // worker.joined
	Secret   string     `json:"secret,omitempty"`    // secret.released: its name
	Missing  string     `json:"missing,omitempty"`   // waiting: in words
	Closest  string     `json:"closest,omitempty"`   // waiting: the worker that lacks least
	Until    *time.Time `json:"until,omitempty"`     // waiting: when the module fails, if no capable worker comes
}
