package report

import "time"

// Report is the document that `run --report`, `run -o json` and `runs show
// -o json` print. Times are RFC 3339; durations are in seconds.
type Report struct {
	Version   int               `json:"version"` // 1
	Run       string            `json:"run"`
	Pipeline  string            `json:"pipeline"`
	Status    RunStatus         `json:"status"`
	Started   *time.Time        `json:"started"`
	Finished  *time.Time        `json:"finished"` // null while it runs
	Duration  float64           `json:"duration"`
	Error     string            `json:"error"`
	Params    map[string]any    `json:"params"`
	Labels    map[string]string `json:"labels"`
	StartedBy string            `json:"started_by"`
	Commit    string            `json:"commit"`
	Dirty     bool              `json:"dirty,omitempty"` // files of the run differed from the commit
	Workers   []string          `json:"workers"`
	Warnings  []string          `json:"warnings,omitempty"`
	Modules   []Module          `json:"modules"`
}

// Module is one module in a Report, or a family that was not expanded.
type Module struct {
	Name     string            `json:"name"`
	Family   string            `json:"family"`
	Matrix   map[string]string `json:"matrix"`
	Status   Status            `json:"status"`
	Reason   string            `json:"reason"`
	Error    string            `json:"error"`
	Priority string            `json:"priority"`
	Queued   *time.Time        `json:"queued"` // when it became ready
	Started  *time.Time        `json:"started"`
	Finished *time.Time        `json:"finished"`
	Duration float64           `json:"duration"`
	Wait     float64           `json:"wait"`             // started − queued
	Outputs  map[string]any    `json:"outputs"`          // text, or {"bytes":n,"sha256":"…"} above 64 KiB
	Result   any               `json:"result,omitempty"` // of a Go function; {"bytes":n,"sha256":"…"} above 64 KiB
	// Artifacts are the sets of files that its last attempt has left.
	Artifacts []Artifact  `json:"artifacts"`
	Attempts  []Attempt   `json:"attempts"`
	Cached    *CachedFrom `json:"cached,omitempty"` // where the result of a cached module comes from
	Flaky     bool        `json:"flaky,omitempty"`  // attempts with the same inputs have failed and succeeded
	NoWorker  bool        `json:"-"`                // it failed for want of a capable worker
}

// Artifact is a set of files that a module has left under a name.
type Artifact struct {
	Name   string `json:"name"`
	Files  int    `json:"files"`
	Bytes  int64  `json:"bytes"`  // of all files together
	SHA256 string `json:"sha256"` // of the tree: equal sets of files have equal ones
}

// CachedFrom says where a result of the cache comes from.
type CachedFrom struct {
	Fingerprint string    `json:"fingerprint"`
	Namespace   string    `json:"namespace"`
	Run         string    `json:"run"` // that stored it
	Module      string    `json:"module"`
	Attempt     int       `json:"attempt"`
	By          string    `json:"by,omitempty"` // who started that run
	When        time.Time `json:"when"`
}

// LargeOutput replaces an output above 64 KiB.
type LargeOutput struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Attempt is one attempt in a Module.
type Attempt struct {
	Number   int           `json:"number"`
	Worker   string        `json:"worker"`
	Status   AttemptStatus `json:"status"`
	ExitCode *int          `json:"exit_code,omitempty"`
	Error    string        `json:"error"`
	Started  *time.Time    `json:"started"`
	Finished *time.Time    `json:"finished"`
	Secrets  []string      `json:"secrets,omitempty"` // names of those that it was given
}
