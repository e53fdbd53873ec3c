package schedule

import (
	"slices"

	"github.com/modpipe/modpipe/jobs"
)

// unsigned is why a forged record is noise.
const unsigned = "it is not signed with the key of its attempt"

// Key is the id of the secret from which the keys of the run follow; empty while no
// takeover has named one. An orchestrator without that secret does not act.
func (r *Run) Key() string { return r.signedBy }

// Forged returns the sequences of the records that the fold has skipped since their
// signature is wrong, and that no Rejected names yet, in ascending order.
func (r *Run) Forged() []uint64 { return slices.Clone(r.forged) }

// applyRejected notes which forged records readers without the key know by now. A
// reader with the key never learns from it which records are forged.
func (r *Run) applyRejected(x *jobs.Rejected) {
	named := slices.Sorted(slices.Values(x.Sequences))
	if len(named) == 0 {
		return
	}
	i, _ := slices.BinarySearch(r.forged, named[len(named)-1]+1)
	left := slices.DeleteFunc(slices.Clone(r.forged[:i]), func(seq uint64) bool {
		_, found := slices.BinarySearch(named, seq)
		return found
	})
	if r.forged = r.forged[i:]; len(left) > 0 {
		r.forged = append(left, r.forged...)
	}
}

// reject writes which records are forged.
func (r *Run) reject() *jobs.Rejected {
	return &jobs.Rejected{Sequences: slices.Clone(r.forged[:min(len(r.forged), jobs.MaxRejected)])}
}
