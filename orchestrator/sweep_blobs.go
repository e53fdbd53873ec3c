package orchestrator

import (
	"context"
	"errors"
	"sort"
	"time"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/jetstream"
)

func full(blobs jetstream.Usage) bool { return share(blobs, blobs.MaxBytes) > pressedAbove }

// dropBlobs drops values that were not used for longer than logs are kept. When space is
// short, it also drops those that were used before the others, until there is room. A
// value is used when it is stored or renewed, and when one that refers to it is: a list
// of files is as young as the youngest tree that contains it, and so are the contents.
//
// dropBlobs keeps every value that a process needs or may need:
//
//   - The log of a run that has not ended refers to the value: as a result or an
//     artifact, as one that a retry keeps, as a snapshot of a workspace, or in the place
//     of a long record; or the value is a part of such a tree. A run that has just ended
//     counts as one that has not ended, so that its followers can read the results.
//   - A process was told that the value exists (content.Hold), or that one exists that
//     refers to it.
//   - A worker may still commit a result that refers to the value. The worker
//     works on a job, which stays in the queue until after the commit, and it
//     has stored the value after the job was published. So dropBlobs keeps the
//     values that are younger than the oldest job of the queue. Storing a value
//     that exists already writes its entry again, which makes it young. Only when
//     space is short otherwise, a younger value goes to which the log of an ended run
//     refers: else one long job would keep everything that other runs have left since.
//   - A process is writing a run or a job that refers to the value. It stores
//     the value first. The grace covers the time between the two writes.
//
// dropBlobs does its steps in an order that leaves no gap: it computes the age
// limit, then lists the values, then reads the references. The last step finds
// every result that was committed before it. For a result that is committed
// later, the job was in the queue during the first step, or the value was stored
// after it. A value that a process stores or renews after the second step has a
// new entry, and dropBlobs drops only the entry that it has listed. It drops what
// refers to a value before the value, so that a value that exists is complete; when the
// former was renewed in the meantime, the latter stays.
//
// The grace does not cover a process that submits a run and sleeps for longer
// than the grace between the two writes. The run then reports the missing value,
// and so does the report of a run that ended longer ago than the grace.
func (s *sweep) dropBlobs(ctx context.Context, pressed bool) error {
	before, err := s.idleBefore(ctx)
	if err != nil {
		return err
	}
	blobs, err := s.conn.Values.List(ctx)
	if err != nil {
		return err
	}
	aged := s.now.Add(-s.keep.Keep - content.Hold) // a run that took a day has its log as long
	if len(blobs) == 0 || !pressed && blobs[0].Used.After(aged) {
		return nil
	}
	refs := content.RefsIn(blobs)
	needed, err := s.kept(ctx, blobs, refs, pressed)
	if err != nil {
		return err
	}
	d := &dropping{sweep: s, needed: needed, refs: refs, pressed: pressed, aged: aged}
	idle := sort.Search(len(blobs), func(i int) bool { return !blobs[i].Used.Before(before) })
	if err := d.drop(ctx, blobs[:idle], nil); err != nil || !d.pressed {
		return err
	}
	settled, err := s.settled(ctx, refs)
	if err != nil {
		return err
	}
	return d.drop(ctx, blobs[idle:], settled)
}

// dropping is one pass over the values, the least recently used first.
type dropping struct {
	*sweep
	needed  *content.Marks
	refs    content.Refs
	pressed bool      // there is not enough room yet
	aged    time.Time // what was used before goes in any case
	dropped int
}

// drop drops those of some values that nothing needs, until there is room. With
// only it leaves those alone that are not among them.
func (d *dropping) drop(ctx context.Context, blobs []content.Stored, only *content.Marks) error {
	for i := range blobs {
		if d.needed.Has(blobs[i].Ref) || only != nil && !only.Has(blobs[i].Ref) {
			continue
		}
		if d.pressed && d.dropped%dropBatch == 0 {
			usage, err := d.conn.Values.Usage(ctx)
			if err != nil {
				return err
			}
			d.pressed = share(usage, usage.MaxBytes) >= pressedUntil
		}
		if !d.pressed && !blobs[i].Used.Before(d.aged) {
			return nil
		}
		d.dropped++
		if err := d.dropBlob(ctx, blobs[i], d.needed, d.refs); err != nil {
			return err
		}
	}
	return nil
}

// settled marks the values to which logs of runs refer that have ended. No
// worker is about to commit one of these for the first time, however long the oldest
// job has been in the queue; a program that stores one again renews it.
func (s *sweep) settled(ctx context.Context, refs content.Refs) (*content.Marks, error) {
	runs, err := s.conn.Runs.ListClosed(ctx, s.now.Add(-s.keep.Grace))
	if err != nil {
		return nil, err
	}
	settled := new(content.Marks)
	for _, run := range runs {
		if err := s.conn.Runs.Mark(ctx, run, settled, refs); err != nil {
			return nil, err
		}
	}
	return settled, nil
}

// dropBlob drops one value. When it was renewed in the meantime, what it refers to was
// renewed with it.
func (s *sweep) dropBlob(ctx context.Context, blob content.Stored, needed *content.Marks, refs content.Refs) error {
	gone, err := s.conn.Values.Drop(ctx, blob)
	if err != nil || !gone {
		return errors.Join(err, needed.Add(ctx, blob.Ref, refs))
	}
	s.done.Blobs++
	s.gone[blob.Ref] = true
	return nil
}

// idleBefore returns a time, by the server's clock. Every value that was stored
// before it and is in use has a reference in a log.
func (s *sweep) idleBefore(ctx context.Context) (time.Time, error) {
	usage, err := s.conn.Values.Usage(ctx) // for the current time, because a sweep may take long
	if err != nil {
		return time.Time{}, err
	}
	before := usage.Now
	oldest, err := s.conn.Queue.Oldest(ctx)
	if err == nil && !oldest.IsZero() && oldest.Before(before) {
		before = oldest
	}
	return before.Add(-s.keep.Grace), err
}

// kept marks what is needed, and while there is room what cache entries hold. When
// space is short it orders what they hold by their use.
func (s *sweep) kept(ctx context.Context, blobs []content.Stored, refs content.Refs, pressed bool) (*content.Marks, error) {
	marks, err := s.needed(ctx, blobs, refs)
	switch {
	case err != nil:
	case pressed:
		s.useCached(blobs)
	default:
		err = s.cached(ctx, marks, refs)
	}
	return marks, err
}

// needed marks the values of the runs that have not ended, or that ended within
// the grace, and those that are held.
func (s *sweep) needed(ctx context.Context, blobs []content.Stored, refs content.Refs) (*content.Marks, error) {
	runs, err := s.conn.Runs.ListOpen(ctx, s.now.Add(-s.keep.Grace))
	if err != nil {
		return nil, err
	}
	needed := new(content.Marks)
	for i := range blobs {
		if blobs[i].Held && s.now.Sub(blobs[i].Time) < content.Hold {
			if err := needed.Add(ctx, blobs[i].Ref, refs); err != nil {
				return nil, err
			}
		}
	}
	for _, run := range runs {
		if err := s.conn.Runs.Mark(ctx, run, needed, refs); err != nil {
			return nil, err
		}
	}
	return needed, nil
}
