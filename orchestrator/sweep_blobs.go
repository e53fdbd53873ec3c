package orchestrator

import (
	"context"
	"time"

	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/jetstream"
)

func full(blobs jetstream.Usage) bool { return share(blobs, blobs.MaxBytes) > pressedAbove }

// dropBlobs drops large values, those first that nobody has stored for
// longest, until there is room. None goes that somebody needs, or may need:
//
//   - A run that has not ended refers to it, in its log: as a result, as one
//     that it keeps of the run it repeats, or in the place of a long record. A
//     run that has only just ended counts as one that has not, so that whoever
//     follows it has its results.
//   - A worker may yet commit a result that refers to it. It works on a job,
//     which is in the queue until after the commit; and it has stored the value
//     after the job was published. So what is younger than the oldest job of
//     the queue stays. Storing what is there already writes its entry again,
//     which makes it young.
//   - Something is being written that refers to it: the value is stored first,
//     the run or the job that it is part of follows. For this the grace is.
//
// The three are asked in such an order that nothing falls between them: first
// how old it must be, then what there is, then who refers to it. A result that
// was committed before the last step is found by it; the job of one that is
// committed later was in the queue during the first step, or the value was
// stored after it. And a value that somebody stores or wants again after the
// second step has another entry than the one that is dropped, so that it stays.
//
// What the grace does not cover is somebody who submits a run and sleeps for
// longer than that between the two writes. Its run then says which value it
// lacks. The same goes for the report of a run that ended before its grace.
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
		if needed.Has(blobs[0].Digest) {
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

// idleBefore is the time before which nothing was stored that is not in a log.
func (s *sweep) idleBefore(ctx context.Context) (time.Time, error) {
	usage, err := s.conn.Values.Usage(ctx) // for the time: a sweep may take long
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

// needed marks the values of runs that have not ended, or only just.
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
