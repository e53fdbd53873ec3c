package orchestrator

import (
	"context"
	"time"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/jetstream"
)

func full(blobs jetstream.Usage) bool { return share(blobs, blobs.MaxBytes) > pressedAbove }

// dropBlobs drops large values until there is room. It begins with the values
// whose last storing is the longest ago. It keeps every value that a process
// needs or may need:
//
//   - The log of a run that has not ended refers to the value: as a result, as a
//     result that a retry keeps, or in the place of a long record. A run that
//     has just ended counts as one that has not ended, so that its followers
//     can read the results.
//   - A worker may still commit a result that refers to the value. The worker
//     works on a job, which stays in the queue until after the commit, and it
//     has stored the value after the job was published. So dropBlobs keeps the
//     values that are younger than the oldest job of the queue. Storing a value
//     that exists already writes its entry again, which makes it young.
//   - A process is writing a run or a job that refers to the value. It stores
//     the value first. The grace covers the time between the two writes.
//
// dropBlobs does its steps in an order that leaves no gap: it computes the age
// limit, then lists the values, then reads the references. The last step finds
// every result that was committed before it. For a result that is committed
// later, the job was in the queue during the first step, or the value was stored
// after it. A value that a process stores or renews after the second step has a
// new entry, and dropBlobs drops only the entry that it has listed.
//
// The grace does not cover a process that submits a run and sleeps for longer
// than the grace between the two writes. The run then reports the missing value,
// and so does the report of a run that ended longer ago than the grace.
func (s *sweep) dropBlobs(ctx context.Context) error {
	before, err := s.idleBefore(ctx)
	if err != nil {
		return err
	}
	blobs, err := s.conn.Values.List(ctx)
	if err != nil {
		return err
	}
	needed, err := s.needed(ctx)
	if err != nil {
		return err
	}
	for dropped := 0; len(blobs) > 0 && blobs[0].Time.Before(before); blobs = blobs[1:] {
		if needed.Has(blobs[0].Ref) {
			continue
		}
		if dropped++; dropped%dropBatch == 1 {
			usage, err := s.conn.Values.Usage(ctx)
			if err != nil || share(usage, usage.MaxBytes) < pressedUntil {
				return err
			}
		}
		gone, err := s.conn.Values.Drop(ctx, blobs[0])
		if err != nil {
			return err
		}
		if gone {
			s.done.Blobs++
		}
	}
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

// needed marks the values of the runs that have not ended, or that ended within
// the grace.
func (s *sweep) needed(ctx context.Context) (*content.Marks, error) {
	runs, err := s.conn.Runs.ListOpen(ctx, s.now.Add(-s.keep.Grace))
	if err != nil {
		return nil, err
	}
	needed := new(content.Marks)
	for _, run := range runs {
		if err := s.conn.Runs.Mark(ctx, run, needed); err != nil {
			return nil, err
		}
	}
	return needed, nil
}
