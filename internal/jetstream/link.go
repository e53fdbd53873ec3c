package jetstream

import (
	"context"
	"fmt"
	"sync"
)

// link records whether the connection is up, and wakes the goroutines that wait for it.
type link struct {
	mu     sync.Mutex
	up     chan struct{} // closed while the connection is up
	isUp   bool
	gone   error // why there are no more attempts
	signal map[chan struct{}]struct{}
}

func newLink() *link {
	return &link{up: make(chan struct{}), signal: map[chan struct{}]struct{}{}}
}

// rise marks the connection as up; again = it was up before.
func (l *link) rise(again bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.isUp {
		l.isUp = true
		close(l.up)
	}
	if !again {
		return
	}
	for ch := range l.signal {
		select {
		case ch <- struct{}{}:
		default: // it has one waiting
		}
	}
}

func (l *link) fall() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isUp && l.gone == nil {
		l.isUp = false
		l.up = make(chan struct{})
	}
}

// end marks the connection as closed for good, and ends all waits.
func (l *link) end(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = why
	if !l.isUp {
		l.isUp = true
		close(l.up)
	}
}

// await waits until the connection is up.
func (l *link) await(ctx context.Context) error {
	l.mu.Lock()
	up := l.up
	l.mu.Unlock()
	select {
	case <-up:
	default:
		select {
		case <-up:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrUnreachable, context.Cause(ctx))
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gone
}

// reconnected returns a channel that receives every reconnect until ctx ends.
func (l *link) reconnected(ctx context.Context) <-chan struct{} {
	ch := make(chan struct{}, 1) // one is enough for any number
	l.mu.Lock()
	l.signal[ch] = struct{}{}
	l.mu.Unlock()
	context.AfterFunc(ctx, func() {
		l.mu.Lock()
		delete(l.signal, ch)
		l.mu.Unlock()
	})
	return ch
}
