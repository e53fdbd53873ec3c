package worker

import (
	"context"
	"time"

	"github.com/modpipe/modpipe/jobs"
)

const (
	// chunkSize is from which size on a chunk is stored at once; it is at most
	// one read larger.
	chunkSize = 32 << 10
	// chunkDelay is how long the first byte of a chunk waits for company.
	chunkDelay = 50 * time.Millisecond
)

// attemptLog makes chunks of what an attempt writes and stores them one after
// the other. While a chunk is being stored (NATS may be away) nothing is read
// and the command feels it: at most three reads and a chunk are in memory.
type attemptLog struct {
	store func(context.Context, jobs.LogChunk) error
	in    chan jobs.LogPart
	count int // chunks stored; belongs to run
}

func newAttemptLog(store func(context.Context, jobs.LogChunk) error) *attemptLog {
	return &attemptLog{store: store, in: make(chan jobs.LogPart)}
}

// write takes a piece; it blocks while chunks cannot be stored.
func (l *attemptLog) write(s jobs.Stream, data []byte) { l.in <- jobs.LogPart{Stream: s, Data: data} }

// close says that nothing more is written.
func (l *attemptLog) close() { close(l.in) }

// run stores chunks until close, and returns how many there are. When a chunk
// could not be stored, because ctx has ended, the rest is let go.
func (l *attemptLog) run(ctx context.Context) (int, error) {
	for {
		chunk, more := l.collect()
		if len(chunk.Parts) > 0 {
			if err := l.store(ctx, chunk); err != nil {
				l.discard()
				return l.count, err
			}
			l.count = chunk.Number
		}
		if !more {
			return l.count, nil
		}
	}
}

func (l *attemptLog) discard() {
	for range l.in { // so that nobody blocks in write
	}
}

// collect makes the next chunk; more is false when it is the last.
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

// join appends a part, to the last one where that is of the same stream.
func join(parts []jobs.LogPart, p jobs.LogPart) []jobs.LogPart {
	if last := &parts[len(parts)-1]; last.Stream == p.Stream {
		last.Data = append(last.Data, p.Data...)
		return parts
	}
	return append(parts, p)
}
