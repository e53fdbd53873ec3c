package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrForeign reports a stream that another program has made or changed so that its
// messages go elsewhere, come from elsewhere, or can be erased by those who write to it.
var ErrForeign = errors.New("it is not the stream that modpipe makes")

// Departures lists what makes a stream another one than was wanted. It leaves out sizes,
// ages and replicas, which are the administrator's.
func Departures(want, have *jetstream.StreamConfig) (found []string) {
	note := func(differs bool, format string, args ...any) {
		if differs {
			found = append(found, fmt.Sprintf(format, args...))
		}
	}
	wanted, subjects := slices.Sorted(slices.Values(want.Subjects)), slices.Sorted(slices.Values(have.Subjects))
	note(!slices.Equal(wanted, subjects), "it stores %s instead of %s", strings.Join(subjects, " and "), strings.Join(wanted, " and "))
	note(have.Mirror != nil, "it mirrors another stream")
	note(len(have.Sources) > 0, "it takes messages from other streams")
	note(have.SubjectTransform != nil, "it transforms subjects")
	note(have.RePublish != nil && (want.RePublish == nil || *have.RePublish != *want.RePublish), "it republishes its messages")
	note(rollup(want, have), "it allows roll-ups: who may write one message can erase all")
	return found
}

func rollup(want, have *jetstream.StreamConfig) bool { return have.AllowRollup && !want.AllowRollup }

// foreign returns ErrForeign for a stream that departs from what was wanted.
func foreign(want, have *jetstream.StreamConfig) error {
	found := Departures(want, have)
	if len(found) == 0 {
		return nil
	}
	return fmt.Errorf("stream %s: %w: %s; find out who has made it, correct it with `nats stream edit %[1]s`, or remove it (`nats stream rm %[1]s`) and start again", want.Name, ErrForeign, strings.Join(found, ", "))
}

// accept returns the configuration of an existing stream that is the wanted one. It
// disables the roll-ups that an earlier version of modpipe has allowed.
func (c *Conn) accept(ctx context.Context, want, have *jetstream.StreamConfig) (jetstream.StreamConfig, error) {
	if !rollup(want, have) || len(Departures(want, have)) > 1 {
		return *have, foreign(want, have)
	}
	update := *have
	update.AllowRollup, update.SubjectDeleteMarkerTTL = false, 0
	body, err := json.Marshal(update)
	if err != nil {
		return *have, err
	}
	if _, err := c.API(ctx, "STREAM.UPDATE."+want.Name, body); err != nil {
		return *have, fmt.Errorf("%w (to correct it failed: %w)", foreign(want, have), err)
	}
	c.log.Info("a stream of an earlier version no longer allows roll-ups", "stream", want.Name, "url", c.URL())
	return update, nil
}
