package schedule

import (
	"fmt"
	"slices"

	"github.com/modpipe/modpipe/jobs"
)

// Records of cells carry a signature with the key of their attempt. Only who has the
// key of the run can verify it.
//
// A reader with the key skips forged records as noise. Whether a record is forged
// depends on the key alone, so all such readers agree, and take no notice of
// rejections. An orchestrator among them rejects the records on the control subject,
// at the latest before the end of the run.
//
// A reader without the key believes a record until it sees the rejection. Then it
// folds the log again without the record. What it shows is provisional until the run
// has ended, and it decides nothing.

// unsigned is why a forged record is noise.
const unsigned = "it is not signed with the key of its attempt"

// Key is the id of the secret from which the keys of the run follow; empty while no
// takeover has named one. An orchestrator without that secret does not act.
func (r *Run) Key() string { return r.signedBy }

// Provisional reports whether the fold has records of which its reader cannot verify
// the signature. Nothing is decided from it.
func (r *Run) Provisional() bool { return r.provisional }

// Forged returns the sequences of the forged records that no Rejected names yet, in
// ascending order.
func (r *Run) Forged() []uint64 { return slices.Clone(r.forged) }

// noteAuth notes what is known of the writer of a record of a cell.
func (r *Run) noteAuth(e jobs.Entry) {
	switch {
	case e.Unread != nil || r.end != nil:
	case e.Auth == jobs.Forged:
		r.forged = append(r.forged, e.Sequence)
	case e.Auth == jobs.Unverified && r.signedBy != "":
		r.provisional = true
	}
}

// corrupt is ErrCorrupt. A reader without the key returns it at the end of the run:
// before that, a forged record that it still believes may be the cause.
func (r *Run) corrupt(format string, args ...any) error {
	err := fmt.Errorf("%w: "+format, append([]any{ErrCorrupt}, args...)...)
	if !r.provisional {
		return err
	}
	if r.doubt == nil {
		r.doubt = err
	}
	return nil
}

// applyRejected notes which forged records readers without the key know by now.
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

// reject names the oldest forged records that are not rejected.
func (r *Run) reject() *jobs.Rejected {
	return &jobs.Rejected{Sequences: slices.Clone(r.forged[:min(len(r.forged), jobs.MaxRejected)])}
}

// Rejections are the records that the log of a run rejects, as far as a reader knows
// them. They are for readers without the key of the run, and do nothing for others.
// They hold for one connection: a server that has lost the last part of the log uses
// sequences again. The zero value knows none.
type Rejections struct {
	known    map[uint64]bool
	believed bool // a record that cannot be verified was passed on
}

// Learn takes the rejections of a log, or of a part of it. A reader that reads a log
// again learns all of them first, so that it does not begin again for each.
func (x *Rejections) Learn(entries []jobs.Entry) {
	for _, e := range entries {
		if e.Record.Rejected != nil {
			x.learn(e.Record.Rejected)
		}
	}
}

func (x *Rejections) learn(r *jobs.Rejected) (news bool) {
	if x.known == nil {
		x.known = map[uint64]bool{}
	}
	for _, seq := range r.Sequences {
		news = news || !x.known[seq]
		x.known[seq] = true
	}
	return news
}

// Again begins the log from its first entry.
func (x *Rejections) Again() { x.believed = false }

// Mark marks the next entry of the log as forged when the log rejects it. It reports
// true for a rejection of records that it has not marked: the reader reads the log
// again from its first entry.
func (x *Rejections) Mark(e *jobs.Entry) (again bool) {
	switch {
	case e.Record.Rejected != nil:
		return x.learn(e.Record.Rejected) && x.believed
	case e.Cell == "" || e.Auth != jobs.Unverified:
	case x.known[e.Sequence]:
		e.Auth = jobs.Forged
	default:
		x.believed = true
	}
	return false
}
