package jetstream

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
)

// mostHeard is how many keys wait for a slow listener.
const mostHeard = 1024

// Heard are the keys that were written, as far as core NATS has told.
type Heard struct {
	Keys   <-chan string
	Missed <-chan struct{} // holds one token when keys were left out
	Denied <-chan error    // holds the first denial
	Stop   func()
}

// Hear listens to writes of the bucket. A message may arrive before its entry can be
// read, and some may be lost.
func (b *Bucket) Hear() (*Heard, error) {
	keys, missed, denied := make(chan string, mostHeard), make(chan struct{}, 1), make(chan error, 1)
	subject := b.subject(">")
	stop := b.c.WatchDenials(func(s string, subscription bool) bool { return subscription && s == subject }, func(err error) {
		select {
		case denied <- err:
		default:
		}
	})
	sub, err := b.c.Subscribe(subject, func(m *nats.Msg) {
		select {
		case keys <- strings.TrimPrefix(m.Subject, b.subject("")):
		default:
			select {
			case missed <- struct{}{}:
			default:
			}
		}
	})
	if err != nil {
		stop()
		return nil, fmt.Errorf("listen on %s: %w", subject, b.c.closedMeans(err))
	}
	return &Heard{Keys: keys, Missed: missed, Denied: denied, Stop: func() {
		stop()
		_ = sub.Unsubscribe() // fails only on a closed connection
	}}, nil
}

// Keys returns the keys of the bucket, those of removed entries among them, and the
// revision of its newest entry at that time, by the leader.
func (b *Bucket) Keys(ctx context.Context) (keys []string, revision uint64, err error) {
	info, err := b.c.StreamInfo(ctx, b.stream())
	if err != nil {
		return nil, 0, fmt.Errorf("list %s: %w", b.Name(), err)
	}
	subjects, err := b.c.Subjects(ctx, b.stream(), b.subject(">"))
	if err != nil {
		return nil, 0, err
	}
	for _, subject := range subjects {
		keys = append(keys, strings.TrimPrefix(subject, b.subject("")))
	}
	return keys, info.State.LastSeq, nil
}

// Conn is the connection of the bucket.
func (b *Bucket) Conn() *Conn { return b.c }
