package content

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"time"

	"github.com/modpipe/modpipe/internal/jetstream"
)

// Digest is the SHA-256 of a value, in hex.
type Digest string

// Valid reports whether d has the form of a digest.
func (d Digest) Valid() bool {
	return len(d) == 2*sha256.Size && strings.Trim(string(d), "0123456789abcdef") == ""
}

// Store is a store of values. Safe for concurrent use.
type Store struct {
	c      *jetstream.Conn
	bucket string
	age    time.Duration
	full   jetstream.FullPolicy
}

// New returns the store in an object store of NATS, which keeps values for age.
// Writes wait while it is full.
func New(c *jetstream.Conn, bucket string, age time.Duration) Store {
	return Store{c: c, bucket: bucket, age: age, full: jetstream.WaitWhenFull}
}

// WhenFull returns the same store with another policy for writes while it is full.
func (s Store) WhenFull(full jetstream.FullPolicy) Store {
	s.full = full
	return s
}

func (s Store) stream() string                 { return "OBJ_" + s.bucket }
func (s Store) chunkSubject(id string) string  { return "$O." + s.bucket + ".C." + id }
func (s Store) entrySubject(key string) string { return "$O." + s.bucket + ".M." + encodeKey(key) }

func encodeKey(key string) string { return base64.URLEncoding.EncodeToString([]byte(key)) }
