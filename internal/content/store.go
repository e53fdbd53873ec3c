package content

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/modpipe/modpipe/internal/jetstream"
)

// Digest names a value: the SHA-256 of its bytes, in hex, or for a value that Send
// stores a SHA-256 that determines what it holds.
type Digest string

// Valid reports whether d has the form of a digest.
func (d Digest) Valid() bool {
	return len(d) == 2*sha256.Size && strings.Trim(string(d), "0123456789abcdef") == ""
}

// Ref names a value in a namespace.
type Ref struct {
	Namespace string
	Digest    Digest
}

// Store is one namespace of a store of values. Safe for concurrent use.
type Store struct {
	c         *jetstream.Conn
	bucket    string
	namespace string
	from      []string // namespaces whose values Have accepts, too
	age       time.Duration
	full      jetstream.FullPolicy
	facts     *facts // of the stream, for all namespaces
}

// New returns a namespace of the store in an object store of NATS, which keeps
// values for age. Writes wait while it is full.
func New(c *jetstream.Conn, bucket, namespace string, age time.Duration) Store {
	return Store{c: c, bucket: bucket, namespace: namespace, age: age, full: jetstream.WaitWhenFull, facts: new(facts)}
}

// WhenFull returns the same store with another policy for writes while it is full.
func (s Store) WhenFull(full jetstream.FullPolicy) Store {
	s.full = full
	return s
}

// In returns another namespace of the same store. From lists the namespaces in
// which Have looks for what the namespace lacks. It fails for a name that is not a
// token of a subject.
func (s Store) In(namespace string, from ...string) (Store, error) {
	for _, name := range append([]string{namespace}, from...) {
		if !ValidNamespace(name) {
			return Store{}, fmt.Errorf("%.100q is no namespace: it takes 1 to 64 letters, digits, - or _", name)
		}
	}
	s.namespace, s.from = namespace, from
	return s, nil
}

// Part returns a namespace of the same store that no user can name; namespace is a token
// of a subject.
func (s Store) Part(namespace string) Store {
	s.namespace, s.from = namespace, nil
	return s
}

// Namespace is the name of the namespace.
func (s Store) Namespace() string { return s.namespace }

// ValidNamespace reports whether a name can be that of a namespace.
func ValidNamespace(name string) bool {
	return name != "" && len(name) <= 64 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == ""
}

func (s Store) stream() string { return "OBJ_" + s.bucket }

// entrySubject is the subject of a value's entry.
func (s Store) entrySubject(d Digest) string {
	return "$O." + s.bucket + ".M." + s.namespace + "." + string(d)
}

// segmentSubject is the subject of the note that a segment of a long value is
// stored whose entry is not.
func (s Store) segmentSubject(d Digest, segment int) string {
	return s.entrySubject(d) + "." + strconv.Itoa(segment)
}

// chunkSubject is the subject of a chunk of a segment. The length of its chunks is part
// of it, because another writer of the same value may cut it otherwise; and of a
// compressed segment its check sum, because another writer may compress it otherwise.
func (s Store) chunkSubject(d Digest, g segment, chunk int) string {
	form := strconv.Itoa(g.Chunk)
	if g.Short > 0 {
		form += "-" + strconv.FormatUint(uint64(g.Sum), 16)
	}
	return "$O." + s.bucket + ".C." + s.namespace + "." + string(d) + "." + form + "." + strconv.Itoa(chunk)
}
