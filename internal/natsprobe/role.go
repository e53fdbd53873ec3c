package natsprobe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/pause"
)

// Use is one use of NATS that shows whether a user has a permission.
type Use struct {
	Subject   string
	Subscribe bool
	Needed    bool // else the user must not have it
}

// Role tries what a role needs and what it must not have. It returns the subjects that
// are missing and those that are too many, each with what is done to it. Nothing is
// changed: every message is one that the server refuses, or that has no receiver.
func (p *Probe) Role(ctx context.Context, uses []Use) (missing, excessive []string, err error) {
	var mu sync.Mutex
	denied := map[Use]bool{}
	defer p.c.WatchDenials(func(string, bool) bool { return true }, func(err error) {
		if d, ok := errors.AsType[*jetstream.DeniedError](err); ok {
			mu.Lock()
			denied[Use{Subject: d.Subject, Subscribe: d.Subscription}] = true
			mu.Unlock()
		}
	})()
	for _, t := range uses {
		if err := p.try(t); err != nil {
			return nil, nil, fmt.Errorf("try %s: %w", t.Subject, err)
		}
	}
	if err := p.c.Ping(ctx); err != nil {
		return nil, nil, err
	}
	if err := pause.For(ctx, trialAfterPing); err != nil { // nats.go reports them on another goroutine
		return nil, nil, err
	}
	mu.Lock()
	defer mu.Unlock()
	for _, t := range uses {
		text := "publish to " + t.Subject
		if t.Subscribe {
			text = "subscribe to " + t.Subject
		}
		switch refused := denied[Use{Subject: t.Subject, Subscribe: t.Subscribe}]; {
		case t.Needed && refused:
			missing = append(missing, text)
		case !t.Needed && !refused:
			excessive = append(excessive, text)
		}
	}
	slices.Sort(missing)
	slices.Sort(excessive)
	return missing, excessive, nil
}

// try does one trial. A call of JetStream with this body is refused, and so is a message
// that expects this sequence.
func (p *Probe) try(t Use) error {
	if t.Subscribe {
		sub, err := p.c.Subscribe(t.Subject, func(*nats.Msg) {})
		if err == nil {
			err = sub.Unsubscribe()
		}
		return err
	}
	m := &nats.Msg{Subject: t.Subject, Data: []byte("{")}
	jetstream.ExpectLast(m, 1<<62)
	return p.c.Publish(m)
}
