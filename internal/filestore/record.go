package filestore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// MaxRecord is the length of the longest record, in bytes: the listing of a tree
// of 200,000 files has room in it.
const MaxRecord = 64 << 20

// PutRecord stores a small piece of data under a kind, which is one lower-case
// word, and a key, which is any text. It replaces an older one. Records count
// towards the limit of the store and are evicted like contents; they cannot be
// pinned.
func (s *Store) PutRecord(ctx context.Context, kind, key string, data []byte) error {
	final, err := s.recordPath(kind, key)
	if err != nil {
		return err
	}
	if len(data) > MaxRecord {
		return fmt.Errorf("store record %s %q: %d bytes are more than %d", kind, key, len(data), MaxRecord)
	}
	w, err := s.Writer(ctx)
	if err != nil {
		return err
	}
	defer w.Discard()
	sum := recordSum(key, data)
	for _, part := range [][]byte{sum[:], data} {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	f := w.file
	w.file = nil
	return s.commit(ctx, f, final, w.size)
}

// Record returns the data that was stored last under kind and key. ErrMissing
// reports that the record is missing, or that it was damaged and has been removed.
func (s *Store) Record(ctx context.Context, kind, key string) ([]byte, error) {
	path, err := s.recordPath(kind, key)
	if err != nil {
		return nil, err
	}
	f, info, err := s.open(path)
	if err != nil {
		return nil, fmt.Errorf("read record %s %q: %w", kind, key, err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	b, err := io.ReadAll(io.LimitReader(f, sha256.Size+MaxRecord+1))
	if err != nil {
		return nil, s.failed("read a record", err)
	}
	if len(b) >= sha256.Size && len(b) <= sha256.Size+MaxRecord {
		if sum := recordSum(key, b[sha256.Size:]); bytes.Equal(sum[:], b[:sha256.Size]) {
			return b[sha256.Size:], nil
		}
	}
	if err := s.removeIfSame(context.WithoutCancel(ctx), path, info); err != nil {
		return nil, s.failed("remove a damaged record", err)
	}
	return nil, fmt.Errorf("read record %s %q: it was damaged on disk and has been removed: %w", kind, key, ErrMissing)
}

// recordSum covers the key, so that a record under a wrong name counts as damaged.
func recordSum(key string, data []byte) [sha256.Size]byte {
	h := sha256.New()
	name := sha256.Sum256([]byte(key))
	h.Write(name[:])
	h.Write(data)
	return [sha256.Size]byte(h.Sum(nil))
}

func (s *Store) recordPath(kind, key string) (string, error) {
	if kind == "" || len(kind) > 32 || strings.Trim(kind, "abcdefghijklmnopqrstuvwxyz-") != "" {
		return "", fmt.Errorf("the kind of a record is one lower-case word, and not %.40q", kind)
	}
	sum := sha256.Sum256([]byte(key))
	name := hex.EncodeToString(sum[:])
	return filepath.Join(s.dir, recordDir, kind, name[:2], name), nil
}
