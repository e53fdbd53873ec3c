package orchestrator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/content"
	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/jobs"
)

// errCut ends the reading of a log of which no more is kept.
var errCut = errors.New("the log is cut")

// storeLog stores what an attempt has written as content of the namespace in which
// the run stores its results, and returns its name. It fails while the store is full.
func (k *cache) storeLog(ctx context.Context, run jobs.RunID, of jobs.AttemptID, o *jobs.Outcome) (jobs.Blob, error) {
	if o.LogChunks == 0 {
		return jobs.EmptyBlob, nil
	}
	store, err := k.conn.Files.In(k.namespace)
	if err != nil {
		return jobs.Blob{}, err
	}
	f, err := os.CreateTemp("", "modpipe-log-")
	if err != nil {
		return jobs.Blob{}, err
	}
	defer func() {
		_ = f.Close() // nothing reads it any more
		_ = os.Remove(f.Name())
	}()
	sum := sha256.New()
	kept := &keptLog{w: io.MultiWriter(f, sum), writer: o.Nonce}
	if err := kept.read(ctx, k.conn.Logs, run, of, o.LogChunks); err != nil {
		return jobs.Blob{}, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return jobs.Blob{}, err
	}
	if _, err := store.WhenFull(jetstream.FailWhenFull).Put(ctx, f); err != nil {
		return jobs.Blob{}, err
	}
	return jobs.Blob{SHA256: hex.EncodeToString(sum.Sum(nil)), Bytes: kept.size}, nil
}

// keptLog copies the log of an attempt, up to jobs.MaxCachedLog bytes and the line
// that tells that it is cut.
type keptLog struct {
	w      io.Writer
	writer string // the delivery of the job whose chunks count
	size   int64  // bytes written
	chunks int    // chunks read
}

func (l *keptLog) read(ctx context.Context, logs *broker.Logs, run jobs.RunID, of jobs.AttemptID, chunks int) error {
	err := logs.Read(ctx, run, of.Module, of.Attempt, l.add)
	switch {
	case errors.Is(err, errCut):
		return l.write(fmt.Appendf(nil, "\n[modpipe: the output is longer than %d MiB; the rest is not kept with the cached result]\n", jobs.MaxCachedLog>>20))
	case err == nil && l.chunks < chunks:
		return l.write(fmt.Appendf(nil, "\n[modpipe: of %d parts of the output only %d could be read when the result was cached]\n", chunks, l.chunks))
	}
	return err
}

func (l *keptLog) add(e broker.LogEntry) error {
	if e.Chunk.Writer != l.writer || e.Unread != nil {
		return nil //nolint:nilerr // read counts what it could read, and says so
	}
	l.chunks++
	for _, p := range e.Chunk.Parts {
		rest := jobs.MaxCachedLog - l.size
		if err := l.write(p.Data[:min(int64(len(p.Data)), rest)]); err != nil {
			return err
		}
		if int64(len(p.Data)) > rest {
			return errCut
		}
	}
	return nil
}

func (l *keptLog) write(data []byte) error {
	n, err := l.w.Write(data)
	l.size += int64(n)
	return err
}

// keepLog is storeLog for a result that is stored in any case: a log that cannot be
// stored is left out, and why is logged.
func (k *cache) keepLog(ctx context.Context, run jobs.RunID, of jobs.AttemptID, o *jobs.Outcome) jobs.Blob {
	b, err := k.storeLog(ctx, run, of, o)
	if err != nil && ctx.Err() == nil {
		k.cfg.Logger.Info("the output of a cached result is not kept with it", "run", run, "module", of.Module, "error", err)
	}
	return b
}

// renewLog keeps the log of an entry as long as the entry. Without the log the entry
// is of use, too.
func (k *cache) renewLog(ctx context.Context, namespace string, b jobs.Blob) {
	if b.Bytes == 0 {
		return
	}
	store, err := k.conn.Files.In(namespace)
	if err == nil {
		_, err = store.WhenFull(jetstream.FailWhenFull).Have(ctx, []content.Digest{content.Digest(b.SHA256)})
	}
	if err != nil && ctx.Err() == nil {
		k.cfg.Logger.Debug("renewing the output of a cached result failed", "error", err)
	}
}
