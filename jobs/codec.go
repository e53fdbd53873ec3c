package jobs

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/modpipe/modpipe/internal/wire"
	"github.com/modpipe/modpipe/pipeline"
)

// Message is what crosses a process boundary: the set is sealed.
type Message interface {
	Record | Job | LogChunk | WorkerInfo | LaneSet | RunLease | LockEntry | Control | Question | Durations | CacheEntry | CacheIndex | Attempted | CacheDirEntry | CacheDirIndex | SealedSecrets
}

// Version is the newest version of messages that this build reads. It writes a
// message in the oldest version that says the same: programs of that version
// take part in runs that need nothing newer.
const Version = withKeys

// The versions of messages.
const (
	first     = 1
	withFiles = 2 // files: an older worker would run the job without them, and an older orchestrator lose them
	// withKeys has keys and secrets: an older worker would sign nothing and run modules
	// without their secrets, and an older orchestrator would believe everything.
	withKeys = 3
)

// versionOf is the version in which a message is written.
func versionOf[M Message](m *M) byte {
	files, keys := false, false
	switch m := any(m).(type) {
	case *Job:
		files, keys = m.Files != nil, m.Key != nil || len(m.Secrets) > 0 || m.Command != nil && len(m.Command.RequiredEnv) > 0
	case *LaneSet:
		keys = len(m.Requires.Secrets)+len(m.Requires.Env) > 0
	case *SealedSecrets:
		keys = true
	case *Record:
		keys = m.Rejected != nil || m.Released != nil || m.Takeover != nil && m.Takeover.Key != "" || m.Spec != nil && m.Spec.secrets()
		files = m.Note != nil || m.Spec != nil && m.Spec.files() || m.Outcome != nil && (len(m.Outcome.Artifacts) > 0 || len(m.Outcome.CacheDirs) > 0 || m.Outcome.Cached != nil)
	}
	switch {
	case keys:
		return withKeys
	case files:
		return withFiles
	}
	return first
}

// files reports whether modules of the run find or leave files, or are cached.
func (s *Spec) files() bool {
	return s.Workspace != nil || len(s.Earlier) > 0 || s.Pipeline != nil && slices.ContainsFunc(s.Pipeline.Modules, func(m *pipeline.Module) bool {
		return len(m.Produce) > 0 || len(m.Consume) > 0 || m.Cache != nil || len(m.CacheDirs) > 0
	})
}

// Errors of decoding that callers branch on.
var (
	ErrNewer     = wire.ErrNewer
	ErrMalformed = wire.ErrMalformed
	ErrTooLarge  = wire.ErrTooLarge // a message exceeds the limit of its kind
)

// Marshal encodes m: the version that it needs, then a msgpack map with short keys. Empty
// fields that are optional are left out. ErrTooLarge above the limit of its kind.
func Marshal[M Message](m *M) ([]byte, error) {
	var buf bytes.Buffer
	buf.WriteByte(versionOf(m))
	if err := encode(&buf, m, false); err != nil {
		return nil, fmt.Errorf("encode %T: %w", *m, err)
	}
	if most := limitOf(m); buf.Len() > most {
		return nil, fmt.Errorf("encode %T: %d bytes are %w: it may have %d MiB", *m, buf.Len(), ErrTooLarge, most>>20)
	}
	return buf.Bytes(), nil
}

// Unmarshal decodes a message of this version or an older one. Keys that it
// does not know are skipped; times are in UTC. ErrNewer, ErrMalformed; above the
// limit of its kind also ErrTooLarge.
func Unmarshal[M Message](data []byte) (M, error) { return unmarshal[M](data, Limit[M]()) }

// UnmarshalRecord is Unmarshal for a record whose place allows it to have at
// most so many bytes.
func UnmarshalRecord(data []byte, most int) (Record, error) { return unmarshal[Record](data, most) }

func unmarshal[M Message](data []byte, most int) (M, error) {
	var m M
	if err := decodeMessage(data, &m, most); err != nil {
		var zero M
		return zero, fmt.Errorf("decode %T: %w", zero, err)
	}
	return m, nil
}

func decodeMessage[M Message](data []byte, m *M, most int) error {
	if len(data) > most {
		return fmt.Errorf("%w: %w: %d bytes, more than %d", ErrMalformed, ErrTooLarge, len(data), most)
	}
	body, err := body(data)
	if err != nil {
		return err
	}
	if err := decode(body, m, most); err != nil {
		return err
	}
	utc(m)
	return nil
}

// body checks the version in front of a message and returns what follows.
func body(data []byte) ([]byte, error) {
	switch {
	case len(data) == 0:
		return nil, fmt.Errorf("%w: it is empty", ErrMalformed)
	case data[0] == 0 || data[0] > 0x7f:
		return nil, fmt.Errorf("%w: no version in front", ErrMalformed)
	case data[0] > Version:
		return nil, fmt.Errorf("%w (version %d, this program knows %d)", ErrNewer, data[0], Version)
	}
	return data[1:], nil
}

// encode puts v into buf with an encoder of msgpack's pool.
func encode[T any](buf *bytes.Buffer, v *T, sorted bool) error {
	enc := msgpack.GetEncoder()
	defer msgpack.PutEncoder(enc)
	enc.Reset(buf)
	enc.UseCompactInts(true)
	enc.SetSortMapKeys(sorted)
	return enc.Encode(v)
}

// decode checks data before anything is allocated for it.
func decode[T any](data []byte, v *T, most int) error {
	if err := check[T](data, most); err != nil {
		return err
	}
	dec := msgpack.GetDecoder()
	defer msgpack.PutDecoder(dec)
	dec.Reset(bytes.NewReader(data))
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

// utc puts a message's times into UTC; msgpack reads them as local ones.
func utc[M Message](m *M) {
	switch m := any(m).(type) {
	case *Record:
		if m.Claim != nil {
			inUTC(&m.Claim.Started)
		}
		if m.Outcome != nil {
			inUTC(&m.Outcome.Started)
			inUTC(&m.Outcome.Finished)
			if m.Outcome.Cached != nil {
				inUTC(&m.Outcome.Cached.When)
			}
		}
	case *Job:
		inUTC(&m.StoreBy)
	case *LogChunk:
		inUTC(&m.Time)
	case *WorkerInfo:
		inUTC(&m.Started)
	case *CacheEntry:
		inUTC(&m.When)
	case *CacheDirEntry:
		inUTC(&m.When)
	case *Attempted:
		inUTC(&m.Failed)
		inUTC(&m.Succeeded)
	}
}

func inUTC(t *time.Time) { *t = t.UTC() }
