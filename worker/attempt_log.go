package worker

import (
	"context"
	"slices"
	"time"

	"github.com/modpipe/modpipe/jobs"
)

const (
	// chunkSize is the size from which on a chunk is stored immediately. A chunk is
	// larger by one read at the most.
	chunkSize = 32 << 10
	// chunkDelay is how long the first byte of a chunk waits for more output.
	chunkDelay = 50 * time.Millisecond
)

// chunksOut is how many chunks of an attempt may be unacknowledged, which keeps a
// distant link busy. A reader buffers no more chunks behind a lost one.
const chunksOut = 64

// sendChunk sends a chunk and returns a function that waits until it is stored.
type sendChunk func(context.Context, jobs.LogChunk) (stored func(context.Context) error, err error)

// attemptLog cuts the output of an attempt into chunks and stores them, several at a
// time. When too many are unacknowledged (NATS may be away) it reads no further
// output, and the command blocks.
type attemptLog struct {
	send  sendChunk
	in    chan jobs.LogPart
	count int // chunks sent; belongs to run
}

func newAttemptLog(send sendChunk) *attemptLog {
	return &attemptLog{send: send, in: make(chan jobs.LogPart)}
}

// Write adds a piece of output. It blocks while chunks cannot be stored.
func (l *attemptLog) Write(s jobs.Stream, data []byte) {
	l.in <- jobs.LogPart{Stream: s, Data: slices.Clone(data)}
}

// close ends the log: there are no more writes.
func (l *attemptLog) close() { close(l.in) }

// run stores chunks until close, and returns how many there are. When a chunk could
// not be stored, because ctx has ended, it drops the rest.
func (l *attemptLog) run(ctx context.Context) (int, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := make(chan func(context.Context) error, chunksOut)
	done := make(chan int, 1)
	go func() { done <- settleChunks(ctx, cancel, out) }()
	more := true
	for more {
		var chunk jobs.LogChunk
		chunk, more = l.collect()
		if len(chunk.Parts) == 0 {
			continue
		}
		if err := l.dispatch(ctx, chunk, out); err != nil {
			cancel(err)
			if more {
				l.discard()
			}
			break
		}
		l.count = chunk.Number
	}
	close(out)
	stored := <-done
	if stored < l.count || ctx.Err() != nil {
		return stored, context.Cause(ctx)
	}
	return stored, nil
}

// dispatch sends a chunk, and waits while too many are unacknowledged.
func (l *attemptLog) dispatch(ctx context.Context, chunk jobs.LogChunk, out chan<- func(context.Context) error) error {
	stored, err := l.send(ctx, chunk)
	if err != nil {
		return err
	}
	select {
	case out <- stored:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// settleChunks waits for the acknowledgements, in order, and returns how many chunks
// are stored before the first one that is not.
func settleChunks(ctx context.Context, fail context.CancelCauseFunc, out <-chan func(context.Context) error) (count int) {
	failed := false
	for stored := range out {
		if failed {
			continue
		}
		if err := stored(ctx); err != nil {
			failed = true
			fail(err)
			continue
		}
		count++
	}
	return count
}

func (l *attemptLog) discard() {
	for range l.in { // so that no write blocks
	}
}

// collect returns the next chunk; more is false after the last one.
func (l *attemptLog) collect() (chunk jobs.LogChunk, more bool) {
	part, ok := <-l.in
	if !ok {
		return chunk, false
	}
	chunk = jobs.LogChunk{Number: l.count + 1, Time: time.Now(), Parts: []jobs.LogPart{part}}
	size := len(part.Data)
	full := time.NewTimer(chunkDelay)
	defer full.Stop()
	for size < chunkSize {
		select {
		case part, ok := <-l.in:
			if !ok {
				return chunk, false
			}
			size += len(part.Data)
			chunk.Parts = join(chunk.Parts, part)
		case <-full.C:
			return chunk, true
		}
	}
	return chunk, true
}

// join appends a part, to the last part if that is of the same stream.
func join(parts []jobs.LogPart, p jobs.LogPart) []jobs.LogPart {
	if last := &parts[len(parts)-1]; last.Stream == p.Stream {
		last.Data = append(last.Data, p.Data...)
		return parts
	}
	return append(parts, p)
}
