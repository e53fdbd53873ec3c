package broker

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/modpipe/modpipe/jobs"
)

// This package writes blobs itself, because the object store of nats.go publishes
// the object's entry together with its chunks. If the stream has room for the
// short entry but not for a chunk, the result is an object without its bytes that
// counts as stored. The layout is the same.

const (
	mostChunk  = 128 << 10
	leastChunk = 1 << 10
)

func (c *Conn) blobStream() string            { return "OBJ_" + c.names.blobs() }
func (c *Conn) chunkSubject(id string) string { return "$O." + c.names.blobs() + ".C." + id }
func (c *Conn) entrySubject(key string) string {
	return "$O." + c.names.blobs() + ".M." + encodeKey(key)
}

func encodeKey(key string) string { return base64.URLEncoding.EncodeToString([]byte(key)) }

// chunkBytes is the size of one chunk: the bytes that the link carries in a short
// time, limited by the server's maximum.
func (c *Conn) chunkBytes() int {
	return int(min(int64(c.flow.message()), max(c.nc.MaxPayload()-headRoom, leastChunk)))
}

// putBlob stores data under its digest, unless it is already stored.
func (c *Conn) putBlob(ctx context.Context, data []byte, full whenFull) (jobs.Blob, error) {
	sum := sha256.Sum256(data)
	blob := jobs.Blob{SHA256: fmt.Sprintf("%x", sum), Bytes: int64(len(data))}
	_, err := keep(ctx, c, full, c.blobStream(), func(ctx context.Context) (struct{}, error) {
		if err := c.pinned(ctx); err != nil {
			return struct{}{}, err
		}
		d := c.carrier(ctx)
		if d != c {
			ctx = unpinned(ctx)
		}
		return struct{}{}, d.putOnce(ctx, blob.SHA256, sum[:], data)
	})
	if err != nil {
		return jobs.Blob{}, fmt.Errorf("store %d bytes in %s: %w", len(data), c.names.blobs(), err)
	}
	return blob, nil
}

// putOnce stores the chunks, and then the entry that makes them an object. If the
// object exists, it renews the entry instead, because the sweep drops the oldest.
func (c *Conn) putOnce(ctx context.Context, key string, sum, data []byte) error {
	old, err := c.blobEntry(ctx, key)
	switch {
	case err == nil && c.usable(old, int64(len(data))):
		if there, err := c.touch(ctx, key, old); there || err != nil {
			return err
		}
	case err != nil && !errors.Is(err, ErrNotFound):
		return err
	}
	id := nuid.Next()
	each := c.chunkBytes()
	chunks, err := c.putChunks(ctx, c.chunkSubject(id), data, each)
	if err == nil {
		err = c.putEntry(ctx, key, &jetstream.ObjectInfo{
			ObjectMeta: jetstream.ObjectMeta{Name: key, Opts: &jetstream.ObjectMetaOptions{ChunkSize: uint32(each)}}, //nolint:gosec // at most mostChunk
			Bucket:     c.names.blobs(), NUID: id, Size: uint64(len(data)), Chunks: chunks,
			Digest: "SHA-256=" + base64.URLEncoding.EncodeToString(sum), ModTime: time.Now().UTC(),
		}, anySequence)
	}
	switch {
	case err != nil && !errors.Is(err, errNoAnswer) && !errors.Is(err, errLost): // else the entry may be there
		c.dropChunks(id)
	case err == nil && old != nil && isObjectID(old.NUID):
		c.dropChunks(old.NUID)
	}
	return err
}

// storedEntry is the entry of an object, with its sequence. Its ModTime is that of
// the bytes; the entry itself may be younger.
type storedEntry struct {
	jetstream.ObjectInfo
	seq uint64
}

// usable reports whether an object has that size, and is young enough not to
// expire while it is in use.
func (c *Conn) usable(e *storedEntry, size int64) bool {
	return !e.Deleted && size >= 0 && e.Size == uint64(size) && time.Since(e.ModTime) < blobRenew
}

// blobEntry reads the entry of an object. It returns ErrNotFound also for a
// message that is not an entry: storing the object replaces it.
func (c *Conn) blobEntry(ctx context.Context, key string) (*storedEntry, error) {
	l, err := c.lastOnce(ctx, c.blobStream(), c.entrySubject(key))
	if err != nil {
		return nil, err
	}
	return c.parseEntry(l)
}

// parseEntry decodes the entry of an object; ErrNotFound when it describes no object, or
// not that of its subject.
func (c *Conn) parseEntry(l located) (*storedEntry, error) {
	e := &storedEntry{seq: l.seq}
	if err := json.Unmarshal(l.msg.Data, &e.ObjectInfo); err != nil {
		return nil, fmt.Errorf("%w: %s holds something else than the entry of a blob: %w", ErrNotFound, clip(l.msg.Subject), err)
	}
	switch {
	case l.msg.Subject != c.entrySubject(e.Name), !isDigest(e.Name):
		return nil, fmt.Errorf("%w: %s holds the entry of a blob with another name, %q", ErrNotFound, clip(l.msg.Subject), clip(e.Name))
	case !e.Deleted && !isObjectID(e.NUID):
		return nil, fmt.Errorf("%w: the entry of blob %s names its chunks %q", ErrNotFound, e.Name, clip(e.NUID))
	}
	return e, nil
}

// isDigest reports whether s is a SHA-256 in hex.
func isDigest(s string) bool {
	return len(s) == 2*sha256.Size && strings.Trim(s, "0123456789abcdef") == ""
}

// isObjectID reports whether s can name the chunks of one object. It becomes a
// token of the subject from which chunks are read and purged.
func isObjectID(s string) bool { return jobs.ValidID(s) }

// anySequence makes putEntry replace any other entry.
const anySequence = math.MaxUint64

func (c *Conn) putEntry(ctx context.Context, key string, info *jetstream.ObjectInfo, expect uint64) error {
	text, err := json.Marshal(info)
	if err != nil {
		return err
	}
	m := &nats.Msg{Subject: c.entrySubject(key), Data: text}
	set(m, jetstream.MsgRollup, jetstream.MsgRollupSubject)
	if expect != anySequence {
		expectLast(m, expect)
	}
	_, err = c.store(ctx, m)
	return err
}

// dropChunks removes chunks that no entry names. It does not wait: chunks that
// remain expire by age.
func (c *Conn) dropChunks(id string) {
	query := fmt.Appendf(nil, `{"filter":%q}`, c.chunkSubject(id))
	c.calls.send(&nats.Msg{Subject: "$JS.API.STREAM.PURGE." + c.blobStream(), Data: query}, func(*nats.Msg, error) {})
}
