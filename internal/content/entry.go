package content

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/modpipe/modpipe/internal/jetstream"
)

// entry is the entry of a value, with its sequence. Its ModTime is that of the
// bytes; the entry itself may be younger.
type entry struct {
	natsjs.ObjectInfo
	seq uint64
}

// usable reports whether a stored value has that size, and is young enough not to
// expire while it is in use: after half of its age it is stored again.
func (s Store) usable(e *entry, size int64) bool {
	return !e.Deleted && size >= 0 && e.Size == uint64(size) && time.Since(e.ModTime) < s.age/2
}

// readEntry reads the entry of a value, once. It returns ErrNotFound also for a
// message that is not an entry.
func (s Store) readEntry(ctx context.Context, d Digest) (*entry, error) {
	m, err := s.c.LastOnce(ctx, s.stream(), s.entrySubject(string(d)))
	if err != nil {
		return nil, err
	}
	return s.parseEntry(m)
}

// parseEntry decodes an entry; ErrNotFound when it describes no value, or not that
// of its subject.
func (s Store) parseEntry(m jetstream.Message) (*entry, error) {
	e := &entry{seq: m.Seq}
	if err := json.Unmarshal(m.Data, &e.ObjectInfo); err != nil {
		return nil, fmt.Errorf("%w: %.100s is not the entry of a blob: %w", jetstream.ErrNotFound, m.Subject, err)
	}
	switch {
	case m.Subject != s.entrySubject(e.Name), !Digest(e.Name).Valid():
		return nil, fmt.Errorf("%w: %.100s holds the entry of a blob with another name, %.100q", jetstream.ErrNotFound, m.Subject, e.Name)
	case !e.Deleted && !idPattern.MatchString(e.NUID):
		return nil, fmt.Errorf("%w: the entry of blob %s names its chunks %.100q", jetstream.ErrNotFound, e.Name, e.NUID)
	}
	return e, nil
}

// idPattern matches what can name the chunks of one value: it becomes a token of
// the subject from which chunks are read and purged.
var idPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// anySequence makes writeEntry replace any other entry.
const anySequence = math.MaxUint64

func (s Store) writeEntry(ctx context.Context, d Digest, info *natsjs.ObjectInfo, expect uint64) error {
	text, err := json.Marshal(info)
	if err != nil {
		return err
	}
	m := &nats.Msg{Subject: s.entrySubject(string(d)), Data: text}
	jetstream.SetHeader(m, natsjs.MsgRollup, natsjs.MsgRollupSubject)
	if expect != anySequence {
		jetstream.ExpectLast(m, expect)
	}
	_, err = s.c.Store(ctx, m)
	return err
}

// touch renews a value by writing its entry again. It returns false if the value
// was dropped in the meantime.
func (s Store) touch(ctx context.Context, d Digest, old *entry) (bool, error) {
	err := s.writeEntry(ctx, d, &old.ObjectInfo, old.seq)
	if !errors.Is(err, jetstream.ErrConflict) {
		return err == nil, err
	}
	now, err := s.readEntry(ctx, d)
	if errors.Is(err, jetstream.ErrNotFound) {
		return false, nil
	}
	return err == nil && !now.Deleted && now.Size == old.Size, err // another writer has renewed it
}
