package broker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// blobRenew is the age after which a blob that is wanted again is stored
// again, so that its age limit does not strike while somebody needs it.
const blobRenew = blobsAge / 2

// blobTry is the time for moving one blob.
const blobTry = 5 * time.Minute

// blob reads a blob of at most limit bytes and checks its digest.
func (c *Conn) blob(ctx context.Context, digest string, limit int64) ([]byte, error) {
	data, err := c.onBlobs(ctx, func(ctx context.Context, store jetstream.ObjectStore) ([]byte, error) {
		return readOnce(ctx, store, digest, limit)
	})
	if err != nil {
		return nil, fmt.Errorf("read blob %s: %w", digest, err)
	}
	return data, nil
}

func readOnce(ctx context.Context, store jetstream.ObjectStore, digest string, limit int64) ([]byte, error) {
	object, err := store.Get(ctx, digest)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil, fmt.Errorf("%w: %w (blobs are kept for %d days)", ErrNotFound, err, int(blobsAge.Hours()/24))
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = object.Close() }() // what matters is the digest
	info, err := object.Info()
	if err != nil {
		return nil, err
	}
	if int64(info.Size) > limit {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are read", ErrTooLarge, info.Size, limit)
	}
	var buf bytes.Buffer
	buf.Grow(int(info.Size) + bytes.MinRead)
	if _, err := buf.ReadFrom(io.LimitReader(object, limit+1)); err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(buf.Bytes()); hex.EncodeToString(sum[:]) != digest {
		return nil, fmt.Errorf("%w: the bytes are not those of the digest", errDelivered)
	}
	return buf.Bytes(), nil
}

// onBlobs calls f with the object store, again while the trouble is
// transient. A denied permission ends the call at once.
func (c *Conn) onBlobs(ctx context.Context, f func(context.Context, jetstream.ObjectStore) ([]byte, error)) ([]byte, error) {
	return retry(ctx, c, func(ctx context.Context) ([]byte, error) {
		try, cancel := context.WithTimeout(ctx, blobTry)
		defer cancel()
		try, stop := c.denied.within(try, c.names.blobs())
		defer stop()
		store, err := c.objectStore(try)
		if err == nil {
			var data []byte
			if data, err = f(try, store); err == nil {
				return data, nil
			}
		}
		if cause := context.Cause(try); errors.Is(cause, ErrDenied) {
			return nil, cause
		}
		if api, ok := errors.AsType[*jetstream.APIError](err); ok {
			err = errors.Join(meaning(api), err)
		}
		return nil, err
	})
}

// objectStore binds to the store, making it when a server has lost it.
func (c *Conn) objectStore(ctx context.Context) (jetstream.ObjectStore, error) {
	store, err := c.js.ObjectStore(ctx, c.names.blobs())
	if !errors.Is(err, jetstream.ErrBucketNotFound) {
		return store, err
	}
	if err := c.Ensure(ctx); err != nil {
		return nil, err
	}
	return c.js.ObjectStore(ctx, c.names.blobs())
}
