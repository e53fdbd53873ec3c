package broker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/modpipe/modpipe/internal/pause"
	"github.com/modpipe/modpipe/jobs"
)

// This package reads blobs itself, because the object store of nats.go asks any
// replica. It trusts a replica that is behind and lacks the blob or a part of it.
// If the consumer of the chunks is placed on a server that has just died, its
// read waits for minutes.

// blobRenew is the age after which a blob that is needed again is stored again,
// so that it does not expire while it is in use.
const blobRenew = blobsAge / 2

// blobPatience is how long a cluster is asked again for a blob that it reports
// missing: a leader that was paused and replaced answers from its old state until
// it learns of the new leader.
const blobPatience = 5 * time.Second

// blob reads a blob of at most limit bytes and checks its digest. It returns
// ErrNotFound, ErrTooLarge, or jobs.ErrMalformed for an invalid digest.
func (c *Conn) blob(ctx context.Context, digest string, limit int) ([]byte, error) {
	if !isDigest(digest) {
		return nil, fmt.Errorf("read a blob: %w: %q is not a digest", jobs.ErrMalformed, clip(digest))
	}
	began := time.Now()
	for backoff := newBackOff(); ; {
		data, err := c.readBlob(ctx, digest, limit)
		if err == nil {
			return data, nil
		}
		err = fmt.Errorf("read blob %s: %w", digest, err)
		if !errors.Is(err, ErrNotFound) || time.Since(began) > blobPatience || !c.blobsReplicated(ctx) || pause.For(ctx, backoff.NextBackOff()) != nil {
			return nil, err
		}
	}
}

func (c *Conn) blobsReplicated(ctx context.Context) bool {
	info, err := c.streamInfo(ctx, c.blobStream())
	return err == nil && info.Config.Replicas > 1
}

// readBlob reads the chunks that the entry of a blob names. It starts over with
// the new entry if the blob is stored again in the meantime, which drops the old
// chunks.
func (c *Conn) readBlob(ctx context.Context, digest string, limit int) ([]byte, error) {
	for read := ""; ; {
		entry, err := retry(ctx, c, func(ctx context.Context) (*storedEntry, error) { return c.blobEntry(ctx, digest) })
		if err == nil && entry.Deleted {
			err = ErrNotFound
		}
		switch {
		case errors.Is(err, ErrNotFound):
			return nil, fmt.Errorf("%w (blobs are kept for %d days, and while there is room)", err, int(blobsAge.Hours()/24))
		case err != nil:
			return nil, err
		case entry.Size > uint64(limit): //nolint:gosec // a limit is never negative
			return nil, fmt.Errorf("%w: %d bytes, at most %d are read", ErrTooLarge, entry.Size, limit)
		}
		data, err := c.readChunks(ctx, entry)
		if err != nil {
			return nil, err
		}
		if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) == digest {
			return data, nil
		}
		if entry.NUID == read {
			return nil, fmt.Errorf("%w: of %d of its %d bytes, which are there, the digest is another", ErrNotFound, len(data), entry.Size)
		}
		read = entry.NUID
	}
}

// readChunks reads the existing bytes of an object. The replica that sends them
// may be behind; then the leader knows of more. Memory grows with the bytes that
// arrive, not with the size that the entry claims.
func (c *Conn) readChunks(ctx context.Context, entry *storedEntry) (data []byte, err error) {
	subject := c.chunkSubject(entry.NUID)
	src := source{stream: c.blobStream(), bulk: true, filters: []string{subject}, verified: true}
	if entry.Opts != nil {
		src.length = int(entry.Opts.ChunkSize)
	}
	for backoff := newBackOff(); ; {
		src.size = int(entry.Size) - len(data) //nolint:gosec // at most the limit of the caller
		err = c.readAll(ctx, src, func(l located) error {
			data, src.after = append(data, l.msg.Data...), l.seq
			if uint64(len(data)) >= entry.Size {
				return errEnough
			}
			return nil
		})
		if err != nil || uint64(len(data)) >= entry.Size {
			return data, err
		}
		newest, err := c.last(ctx, c.blobStream(), subject)
		switch {
		case errors.Is(err, ErrNotFound), err == nil && newest.seq <= src.after: // that is all there is
			return data, nil
		case err != nil:
			return nil, err
		case pause.For(ctx, backoff.NextBackOff()) != nil:
			return nil, context.Cause(ctx)
		}
	}
}
