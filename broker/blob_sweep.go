package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modpipe/modpipe/jobs"
)

// BlobsUsage asks for the size of all blobs.
func (c *Conn) BlobsUsage(ctx context.Context) (Usage, error) {
	return c.usage(ctx, c.blobStream(), blobsBytes)
}

// StoredBlob describes a blob for the sweep.
type StoredBlob struct {
	SHA256 string
	Stored time.Time // or renewed, by the server's clock

	id  string // of its chunks
	seq uint64 // of its entry
}

// StoredBlobs lists the blobs, the least recently stored first.
func (c *Conn) StoredBlobs(ctx context.Context) ([]StoredBlob, error) {
	var blobs []StoredBlob
	src := source{stream: c.blobStream(), filters: []string{"$O." + c.names.blobs() + ".M.>"}, begun: func() error {
		blobs = nil
		return nil
	}}
	err := c.readAll(ctx, src, func(l located) error {
		if e, err := c.parseEntry(l); err == nil && !e.Deleted { // else not of ours
			blobs = append(blobs, StoredBlob{SHA256: e.Name, Stored: l.time, id: e.NUID, seq: l.seq})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the blobs: %w", err)
	}
	slices.SortFunc(blobs, func(a, b StoredBlob) int { return a.Stored.Compare(b.Stored) })
	return blobs, nil
}

// DropBlob removes a blob, unless it was stored again after it was listed, and
// reports whether it did. It removes the entry first, by its sequence: from then
// on a writer stores the blob again.
func (c *Conn) DropBlob(ctx context.Context, b StoredBlob) (bool, error) {
	query := fmt.Appendf(nil, `{"filter":%q,"seq":%s}`, c.entrySubject(b.SHA256), strconv.FormatUint(b.seq+1, 10))
	m, err := c.api(ctx, "STREAM.PURGE."+c.blobStream(), query)
	if err != nil {
		return false, fmt.Errorf("drop blob %s: %w", b.SHA256, err)
	}
	var done struct {
		Purged uint64 `json:"purged"`
	}
	if err := json.Unmarshal(m.Data, &done); err != nil {
		return false, fmt.Errorf("drop blob %s: %w", b.SHA256, err)
	}
	if done.Purged == 0 || b.id == "" {
		return false, nil
	}
	return true, c.purge(ctx, c.blobStream(), c.chunkSubject(b.id))
}

// WantBlob renews a blob, as if it were stored now, or returns ErrNotFound.
func (c *Conn) WantBlob(ctx context.Context, b jobs.Blob) error {
	young, err := keep(ctx, c, fails, c.blobStream(), func(ctx context.Context) (bool, error) {
		old, err := c.blobEntry(ctx, b.SHA256)
		if err != nil || !c.usable(old, b.Bytes) {
			return false, err
		}
		return c.touch(ctx, b.SHA256, old)
	})
	if err != nil || young {
		return err
	}
	data, err := c.blob(ctx, b.SHA256, jobs.MaxOutputs)
	if err == nil {
		_, err = c.putBlob(ctx, data, fails)
	}
	return err
}

// OldestJob returns when the oldest queued job was published; zero when the queue
// is empty.
func (c *Conn) OldestJob(ctx context.Context) (time.Time, error) {
	info, err := c.streamInfo(ctx, c.names.jobsStream())
	if err != nil {
		return time.Time{}, fmt.Errorf("ask for the oldest job: %w", err)
	}
	if info.State.Msgs == 0 {
		return time.Time{}, nil
	}
	return info.State.FirstTime, nil
}

// UnendedRuns lists the runs that have no end, or one after since.
func (c *Conn) UnendedRuns(ctx context.Context, since time.Time) ([]jobs.RunID, error) {
	ended := map[jobs.RunID]bool{}
	var all []jobs.RunID
	src := source{
		stream: c.names.runsStream(), filters: []string{c.names.run("*", "spec"), c.names.run("*", "end")}, headers: true,
		begun: func() error {
			all = nil
			clear(ended)
			return nil
		},
	}
	err := c.readAll(ctx, src, func(l located) error {
		run, _, _ := c.names.parseRun(l.msg.Subject)
		if strings.HasSuffix(l.msg.Subject, ".spec") {
			all = append(all, run)
		} else if l.time.Before(since) {
			ended[run] = true
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the runs that have not ended: %w", err)
	}
	return slices.DeleteFunc(all, func(run jobs.RunID) bool { return ended[run] }), nil
}

// BlobsOf calls f with the digest of every blob to which the log of a run refers:
// long records, and outputs.
func (c *Conn) BlobsOf(ctx context.Context, run jobs.RunID, f func(digest string)) error {
	src := source{stream: c.names.runsStream(), filters: []string{c.names.runAll(run)}}
	err := c.readAll(ctx, src, func(l located) error {
		if byReference(l.msg) {
			f(l.msg.Header.Get(headerBlob))
		}
		e, err := c.entry(ctx, l)
		if err == nil && e.Cell == "" {
			err = e.Unread
		}
		switch {
		case unreadable(err) && !errors.Is(err, jobs.ErrNewer): // no reader follows its references
			return nil
		case err != nil:
			return err
		}
		for _, o := range outputsIn(&e.Record) {
			f(o.Blob.SHA256)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("find the blobs of run %s: %w", run, err)
	}
	return nil
}

func outputsIn(rec *jobs.Record) (found []jobs.Outputs) {
	if rec.Outcome != nil {
		found = append(found, rec.Outcome.Outputs)
	}
	if rec.Spec != nil {
		for _, k := range rec.Spec.Kept {
			found = append(found, k.Outputs)
		}
	}
	return found
}

// touch renews a blob by writing its entry again. It returns false if the blob
// was dropped in the meantime.
func (c *Conn) touch(ctx context.Context, key string, old *storedEntry) (bool, error) {
	err := c.putEntry(ctx, key, &old.ObjectInfo, old.seq)
	if !errors.Is(err, ErrConflict) {
		return err == nil, err
	}
	now, err := c.blobEntry(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil && !now.Deleted && now.Size == old.Size, err // another writer has renewed it
}
