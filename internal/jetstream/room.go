package jetstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// FullPolicy decides what a write does when its stream is full.
type FullPolicy int

// What a write does when its stream is full.
const (
	FailWhenFull FullPolicy = iota // immediately: ErrFull, with advice
	WaitWhenFull                   // until there is room
)

// reportEvery is the time between two reports of a wait for room or for a
// permission.
const reportEvery = time.Minute

// silentTries is the number of unanswered writes, on an open connection, after
// which they are reported. A server whose disk fails a write does not answer.
const silentTries = 3

// RetryWhenFull is retry for writes to a stream that may be full.
func RetryWhenFull[T any](ctx context.Context, c *Conn, full FullPolicy, stream string, op func(context.Context) (T, error)) (T, error) {
	v, err := retry(ctx, c, func(ctx context.Context) (T, error) {
		v, err := op(ctx)
		switch {
		case err == nil:
			c.found(stream)
		case errors.Is(err, ErrFull) && full == WaitWhenFull:
			c.missing(ctx, stream, err)
			return v, fmt.Errorf("%w: %w", errNoRoom, err)
		case errors.Is(err, ErrNoAnswer), errors.Is(err, context.DeadlineExceeded): // the writer's own deadline
			c.unanswered(stream)
		}
		return v, err
	})
	if errors.Is(err, ErrFull) && full == FailWhenFull {
		err = fmt.Errorf("%w\n%s", err, c.roomText(ctx, stream, err))
	}
	return v, err
}

// room remembers which streams are full or silent.
type room struct {
	mu       sync.Mutex
	reported map[string]time.Time // when it was last reported
	silent   map[string]int       // unanswered writes since the last answered one
}

// unanswered counts an unanswered write to a stream, and reports whether there
// were enough of them to report.
func (r *room) unanswered(stream string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.silent == nil {
		r.silent = map[string]int{}
	}
	r.silent[stream]++
	return r.silent[stream] >= silentTries
}

// due reports whether a report about a stream is due.
func (r *room) due(stream string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last, ok := r.reported[stream]; ok && now.Sub(last) < reportEvery {
		return false
	}
	if r.reported == nil {
		r.reported = map[string]time.Time{}
	}
	r.reported[stream] = now
	return true
}

func (r *room) forget(stream string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.reported[stream]
	delete(r.reported, stream)
	delete(r.silent, stream)
	return ok
}

// missing reports a full stream once a minute.
func (c *Conn) missing(ctx context.Context, stream string, err error) {
	if c.room.due(stream, time.Now()) {
		c.log.Warn("no room in NATS: waiting until there is; nothing is lost", "stream", stream, "url", c.URL(), "error", err, "advice", c.roomText(ctx, stream, err))
	}
}

func (c *Conn) unanswered(stream string) {
	if c.nc.IsConnected() && c.room.unanswered(stream) && c.room.due(stream, time.Now()) {
		c.log.Warn("NATS is connected, but does not answer a write: trying again; nothing is lost. Its log has the reason", "stream", stream, "url", c.URL())
	}
}

func (c *Conn) found(stream string) {
	if c.room.forget(stream) {
		c.log.Info("NATS stores again", "stream", stream, "url", c.URL())
	}
}

// roomPatience bounds the question for the size of a stream, which serves only a
// message.
const roomPatience = 2 * time.Second

// roomText describes how full a stream is, and how to make room in it.
func (c *Conn) roomText(ctx context.Context, stream string, why error) string {
	ctx, cancel := context.WithTimeout(ctx, roomPatience)
	defer cancel()
	info, err := c.StreamInfoOnce(ctx, stream)
	if err != nil || info.Config.MaxBytes <= 0 || errorCode(why) != codeStoreFailed {
		return fmt.Sprintf("the storage of the NATS server or account is used up, not the stream %s: free some of its disk, and start it again where its disk was full, or raise its limit (max_file_store, or the account's)", stream)
	}
	text := fmt.Sprintf("stream %s holds %.1f of at most %.1f MiB: enlarge it (nats stream edit %s --max-bytes SIZE)",
		stream, mebi(int64(info.State.Bytes)), mebi(info.Config.MaxBytes), stream) //nolint:gosec // bytes on a disk
	if advice := c.cfg.Advice(stream); advice != "" {
		text += advice
	}
	return text
}

func mebi(n int64) float64 { return float64(n) / (1 << 20) }
