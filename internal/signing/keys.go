package signing

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/modpipe/modpipe/jobs"
)

// Key signs and verifies messages. It is secret. nil = no key: nothing verifies.
type Key []byte

// Size is the length of keys and secrets, in bytes.
const Size = sha256.Size

// Keyring holds the secrets that orchestrators share. The first one signs, all
// verify. It is immutable; nil holds none.
type Keyring struct{ secrets []secret }

type secret struct {
	id    string
	value []byte
}

// NewKeyring returns a keyring of secrets of at least Size bytes each.
func NewKeyring(secrets ...[]byte) (*Keyring, error) {
	k := &Keyring{}
	for i, value := range secrets {
		if len(value) < Size {
			return nil, fmt.Errorf("signing key %d has %d bytes, and needs at least %d", i+1, len(value), Size)
		}
		id := derive(value, "id")
		k.secrets = append(k.secrets, secret{id: hex.EncodeToString(id[:8]), value: append([]byte(nil), value...)})
	}
	if len(k.secrets) == 0 {
		return nil, fmt.Errorf("a keyring without a signing key")
	}
	return k, nil
}

// ID names the secret that signs new runs; "" without one. It is not secret.
func (k *Keyring) ID() string {
	if k == nil {
		return ""
	}
	return k.secrets[0].id
}

// IDs names all secrets.
func (k *Keyring) IDs() (ids []string) {
	if k == nil {
		return nil
	}
	for _, s := range k.secrets {
		ids = append(ids, s.id)
	}
	return ids
}

// RunKey is the key of a run under the secret with this id; nil when the keyring does
// not have that secret.
func (k *Keyring) RunKey(id string, run jobs.RunID) Key {
	return k.derive(id, "run", string(run))
}

// WorkerKey is the key of one start of a worker under the secret with this id, for
// messages that concern no attempt; nil as for RunKey.
func (k *Keyring) WorkerKey(id, worker, incarnation string) Key {
	return k.derive(id, "worker", worker, incarnation)
}

func (k *Keyring) derive(id string, parts ...string) Key {
	if k == nil {
		return nil
	}
	for _, s := range k.secrets {
		if s.id == id {
			return derive(s.value, parts...)
		}
	}
	return nil
}

// AttemptKey is the key of an attempt, which its job carries; nil without a run key.
// Attempt 0 has no job: only orchestrators have its key.
func AttemptKey(run Key, module jobs.ModuleID, attempt jobs.Attempt) Key {
	if run == nil {
		return nil
	}
	return derive(run, "attempt", string(module), fmt.Sprint(int(attempt)))
}

// derive is HMAC(key, purpose), unambiguous in its parts.
func derive(key []byte, parts ...string) Key {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("modpipe 1"))
	for _, p := range parts {
		writePart(h, p)
	}
	return h.Sum(nil)
}

// writePart writes a part with its length in front.
func writePart[T string | []byte](h interface{ Write([]byte) (int, error) }, part T) {
	var size [8]byte
	binary.BigEndian.PutUint64(size[:], uint64(len(part)))
	_, _ = h.Write(size[:])
	_, _ = h.Write([]byte(part))
}

// MissingError reports that an orchestrator cannot decide for a run, because it does not
// have the signing key of the run: it could not tell the records of workers from those
// of others.
type MissingError struct {
	Run  jobs.RunID
	Key  string   // id of the run's signing key; "" = a version without keys began the run
	By   string   // the orchestrator that began the run
	Have []string // ids of the keys here
}

func (e *MissingError) Error() string {
	if e.Key == "" {
		return fmt.Sprintf("run %s was begun by %s, a version of modpipe that signs nothing: only such a version can go on with it", e.Run, e.By)
	}
	have := "none"
	if len(e.Have) > 0 {
		have = strings.Join(e.Have, ", ")
	}
	return fmt.Sprintf("run %s is signed with the key %s of orchestrator %s, and this one has another (%s): name a copy of that orchestrator's key file with --signing-key", e.Run, e.Key, e.By, have)
}

// Message is what a code covers.
type Message struct {
	Subject string
	Headers []string // that say how to read the body, as NAME: VALUE, sorted
	Body    []byte   // as it is on the wire
}

// MAC is the code of a message under a key, in hex.
func (m Message) MAC(key Key) string { return hex.EncodeToString(m.mac(key)) }

func (m Message) mac(key Key) []byte {
	h := hmac.New(sha256.New, key)
	writePart(h, m.Subject)
	for _, line := range m.Headers {
		writePart(h, line)
	}
	writePart(h, "")
	writePart(h, m.Body)
	return h.Sum(nil)
}

// Verify reports whether a code is that of the message under a key. It takes the same
// time for every wrong code of the right length.
func (m Message) Verify(key Key, code string) bool {
	if len(key) == 0 {
		return false
	}
	given, err := hex.DecodeString(code)
	return err == nil && hmac.Equal(given, m.mac(key))
}
