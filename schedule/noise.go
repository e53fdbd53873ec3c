package schedule

import (
	"fmt"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// Noise is a record in a module's cell that the rules of writing do not allow:
// it cannot be read, or does not fit what the log says of the attempt. Without
// a cell it is a cancellation that cannot be read, or a second specification,
// which people's programs may have written. The fold
// skips it, but it is the last record of its cell all the same: every write
// into the cell expects its sequence.
type Noise struct {
	Cell     jobs.ModuleID
	Sequence uint64
	Why      string
	Records  int // how many records of its cell were skipped so far: 1, or manyNoisy
}

// manyNoisy is how many skipped records in one cell are no accident.
const manyNoisy = 3

// Attack reports whether so many records of the cell were skipped that a program writes
// them on purpose.
func (n Noise) Attack() bool { return n.Records >= manyNoisy }

// String is the warning about it.
func (n Noise) String() string {
	if n.Attack() {
		return fmt.Sprintf("skipped %d records in its log, the newest at entry %d: %s; a program forges records, or does not keep to the rules; later ones are skipped without a word", n.Records, n.Sequence, n.Why)
	}
	return fmt.Sprintf("skipped a stray record in its log (entry %d): %s", n.Sequence, n.Why)
}

// skip takes a record as noise. The first of a cell is reported, and the one that
// shows an attack, unless every module has ended: nothing depends on it then, and the log rejects only the
// forged records that the writer of the end has seen.
func (r *Run) skip(e jobs.Entry, n *node, why string) {
	r.skipped = true
	if n != nil {
		n.cell = e.Sequence
		r.changed = append(r.changed, n.index)
	}
	if r.live == 0 || r.end != nil || r.noisy[e.Cell] == 0 && len(r.noisy) >= maxNoisy {
		return
	}
	if r.noisy == nil {
		r.noisy = map[jobs.ModuleID]int{}
	}
	r.noisy[e.Cell]++
	noise := Noise{Cell: e.Cell, Sequence: e.Sequence, Why: why, Records: r.noisy[e.Cell]}
	if noise.Records != 1 && (noise.Records != manyNoisy || e.Cell == "") {
		return
	}
	r.noise = append(r.noise, noise)
	if n != nil {
		n.warnings = append(n.warnings, noise.String())
		return
	}
	text := noise.String()
	if e.Cell != "" {
		text = string(e.Cell) + ": " + text
	}
	r.warnings = append(r.warnings, text)
}

// maxNoisy bounds the cells that are told of: anyone may write to cells of
// modules that the run does not have.
const maxNoisy = 1000

// Noise returns the noise that was found since the last call: at most two records of
// each cell.
func (r *Run) Noise() []Noise {
	found := r.noise
	r.noise = nil
	return found
}

// Skipped reports whether the entry that was applied last is noise.
func (r *Run) Skipped() bool { return r.skipped }

// misfit says why a claim cannot have been written by the rules; empty when it
// can.
func (n *node) misfit(c *jobs.Claim) string {
	switch {
	case n.claim == nil && n.status != report.Ready && n.status != report.Retrying, c.Attempt != n.attempt:
		return fmt.Sprintf("a claim of attempt %d, and the module is %s at attempt %d", c.Attempt, n.status, n.attempt)
	case n.claim != nil:
		return fmt.Sprintf("a second claim of attempt %d", c.Attempt)
	}
	return ""
}

// endedBeside reports whether an outcome closes a family that has ended, or was
// expanded, by records outside its cell. An orchestrator that had not seen these
// may write it, so it is no noise.
func (n *node) endedBeside(o *jobs.Outcome) bool {
	return o != nil && o.Attempt == 0 && n.module.Dynamic != nil && (n.status.Terminal() || n.expanded)
}

// misfitOutcome is misfit for an outcome.
func (n *node) misfitOutcome(o *jobs.Outcome) string {
	early := n.status == report.Waiting && (n.module.Dynamic == nil || n.since.IsZero())
	switch {
	case n.status.Terminal() || n.expanded || early || o.Attempt != n.attempt && o.Attempt != 0:
		return fmt.Sprintf("an outcome of attempt %d, and the module is %s at attempt %d", o.Attempt, n.status, n.attempt)
	case o.Attempt == 0 && n.claim != nil:
		return "an end without an attempt, and a worker has claimed one"
	case o.By == "" && n.claim != nil && o.Nonce != n.claim.Nonce:
		return fmt.Sprintf("an outcome of attempt %d by another delivery than the one that has claimed it", o.Attempt)
	case o.Cached != nil && (o.Attempt != 0 || n.module.Cache == nil || n.module.Dynamic != nil):
		return "a cached result, and the module has no cache or an attempt of its own"
	case o.Cached != nil && o.Status == report.AttemptSucceeded:
	case o.Attempt == 0 && o.Status != report.AttemptFailed && o.Status != report.AttemptSkipped, o.Attempt != 0 && n.module.Dynamic != nil:
		return fmt.Sprintf("no attempt, and an end as %s", o.Status)
	}
	return ""
}
