package broker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/modpipe/modpipe/jobs"
)

// Blobs are read here, and not by the client's object store, because that one
// asks whichever replica answers. One that is behind does not know a blob yet,
// or not all of it, and is believed; and where the consumer of the chunks was
// placed on a server that has just died, the read waits for minutes.

// blobRenew is the age after which a blob that is wanted again is stored
// again, so that its age limit does not strike while somebody needs it.
const blobRenew = blobsAge / 2

// blobPatience is for how long a cluster is asked again for a blob that it
// does not have: a leader that was stopped, and has been replaced meanwhile,
// answers from what it knew, until it hears of the new one.
const blobPatience = 5 * time.Second

// blob reads a blob of at most limit bytes and checks its digest.
// ErrNotFound, ErrTooLarge, and jobs.ErrMalformed for what is not a digest.
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
		if !errors.Is(err, ErrNotFound) || time.Since(began) > blobPatience || !c.blobsReplicated(ctx) || !pause(ctx, backoff.NextBackOff()) {
			return nil, err
		}
	}
}

func (c *Conn) blobsReplicated(ctx context.Context) bool {
	info, err := c.streamInfo(ctx, c.blobStream())
	return err == nil && info.Config.Replicas > 1
}

// readBlob reads what the entry of a blob names, and another entry when
// somebody has stored the blob anew meanwhile: the bytes that the first named
// are dropped then.
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

// readChunks reads what there is of an object's bytes. Whoever sends them may
// be behind, and then the leader knows of more. Memory grows with what arrives,
// not with what the entry claims.
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
		case !pause(ctx, backoff.NextBackOff()):
			return nil, context.Cause(ctx)
		}
	}
}
