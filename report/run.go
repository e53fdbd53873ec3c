package report

import "time"

// RunUnreadable is the status, in lists, of a run that no orchestrator can
// handle: its log cannot be read, or its orchestrator has set it aside.
const RunUnreadable RunStatus = "unreadable"

// Run is one row of a list of runs, as `runs list -o json` prints it.
type Run struct {
	Run       string            `json:"run"`
	Pipeline  string            `json:"pipeline"`
	Status    RunStatus         `json:"status"`
	Started   time.Time         `json:"started"`
	Finished  *time.Time        `json:"finished"` // null while it runs
	Duration  float64           `json:"duration"` // seconds
	Labels    map[string]string `json:"labels"`
	StartedBy string            `json:"started_by"`
	Commit    string            `json:"commit,omitempty"`
	RetryOf   string            `json:"retry_of,omitempty"`
	Modules   int               `json:"modules"` // before families expand; 0 = unknown
	Error     string            `json:"error,omitempty"`
}
