package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/nats-io/nats.go"
)

// The gets of this file name their subject in the subject of the request, so that
// permissions can confine them. Gets by sequence and lists of messages cannot be
// confined; a worker uses none of them.

// Newest reads the newest message of a subject, or returns ErrNotFound. A replica
// that is behind may answer.
func (c *Conn) Newest(ctx context.Context, stream, subject string) (Message, error) {
	m, err := retry(ctx, c, func(ctx context.Context) (Message, error) { return c.newestOnce(ctx, stream, subject) })
	if err != nil {
		return Message{}, fmt.Errorf("read the newest of %s: %w", subject, err)
	}
	return m, nil
}

func (c *Conn) newestOnce(ctx context.Context, stream, subject string) (Message, error) {
	m, err := c.Request(ctx, &nats.Msg{Subject: apiPrefix + "DIRECT.GET." + stream + "." + subject})
	if err != nil {
		return Message{}, err
	}
	return parseDirect(m)
}

// NewestOwn is Newest for a subject to which the user may write. Its answer is at
// least as new as what the leader of the stream has when it is called.
func (c *Conn) NewestOwn(ctx context.Context, stream, subject string) (Message, error) {
	m, err := retry(ctx, c, func(ctx context.Context) (Message, error) {
		last, err := c.lastSequence(ctx, subject)
		if err != nil {
			return Message{}, err
		}
		if last == 0 {
			return Message{}, ErrNotFound
		}
		m, err := c.newestOnce(ctx, stream, subject)
		if err == nil && m.Seq < last || errors.Is(err, ErrNotFound) {
			return Message{}, fmt.Errorf("%w: a replica is behind", ErrNotReady)
		}
		return m, err
	})
	if err != nil {
		return Message{}, fmt.Errorf("read the newest of %s: %w", subject, err)
	}
	return m, nil
}

// impossible is a sequence that no message has.
const impossible = 1 << 62

// refusedAt finds the sequence in the refusal of a compare-and-set.
var refusedAt = regexp.MustCompile(`wrong last sequence: (\d+)`)

// lastSequence asks the leader for the last sequence of a subject, 0 = none, by a
// compare-and-set that is always refused.
func (c *Conn) lastSequence(ctx context.Context, subject string) (uint64, error) {
	m := &nats.Msg{Subject: subject}
	ExpectLast(m, impossible)
	_, err := c.Store(ctx, m)
	if !errors.Is(err, ErrConflict) {
		return 0, errors.Join(err, context.Cause(ctx))
	}
	found := refusedAt.FindStringSubmatch(err.Error())
	if found == nil {
		return 0, fmt.Errorf("%w: a refusal without the last sequence: %w", ErrNotReady, err)
	}
	return strconv.ParseUint(found[1], 10, 64)
}

// Subjects returns the subjects of a stream that a filter selects, or ErrNotFound
// without the stream. The leader answers, and tells nothing of the messages.
func (c *Conn) Subjects(ctx context.Context, stream, filter string) (subjects []string, err error) {
	for total := 1; len(subjects) < total; {
		query := fmt.Appendf(nil, `{"subjects_filter":%q,"offset":%d}`, filter, len(subjects))
		m, err := c.API(ctx, "STREAM.INFO."+stream, query)
		if err != nil {
			return nil, fmt.Errorf("list the subjects %s: %w", filter, err)
		}
		var info struct {
			Total int `json:"total"`
			State struct {
				Subjects map[string]uint64 `json:"subjects"`
			} `json:"state"`
		}
		if err := json.Unmarshal(m.Data, &info); err != nil {
			return nil, fmt.Errorf("read the list of subjects: %w", err)
		}
		if len(info.State.Subjects) == 0 {
			break
		}
		for subject := range info.State.Subjects {
			subjects = append(subjects, subject)
		}
		total = info.Total
	}
	return subjects, nil
}
