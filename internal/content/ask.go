package content

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/pause"
)

const (
	// entryBytes is about how long an entry is.
	entryBytes = 512

	// patience is how long a cluster is asked again for a value that it reports
	// missing: a replica that is behind lacks what the leader has stored.
	patience = 5 * time.Second
)

// answer is the answer to one request of several.
type answer struct {
	request int
	m       jetstream.Message
	err     error
}

// get reads the newest message of each subject, of about so many bytes each, from
// any replica. All requests are on their way at the same time, as far as the link
// has room. The message of a subject without one has a nil Msg.
func (s Store) get(ctx context.Context, subjects []string, bytes int) ([]jetstream.Message, error) {
	found := make([]jetstream.Message, len(subjects))
	err := s.getEach(ctx, subjects, func(int) int { return bytes }, func(i int, m jetstream.Message) { found[i] = m })
	return found, err
}

// getEach is get with a length and a function for each message. It calls got from
// one goroutine at a time.
func (s Store) getEach(ctx context.Context, subjects []string, bytes func(int) int, got func(int, jetstream.Message)) error {
	open := make([]int, len(subjects))
	for i := range open {
		open[i] = i
	}
	return s.c.Retry(ctx, func(ctx context.Context) error {
		answers := make(chan answer, len(open)) // so that no answer blocks
		for _, i := range open {
			s.c.Direct(ctx, s.stream(), subjects[i], bytes(i), func(m jetstream.Message, err error) { answers <- answer{i, m, err} })
		}
		var failed error
		var again []int
		for range open {
			select {
			case a := <-answers:
				switch {
				case a.err == nil:
					got(a.request, a.m)
				case !errors.Is(a.err, jetstream.ErrNotFound):
					again = append(again, a.request)
					if failed == nil || !jetstream.Transient(a.err) {
						failed = a.err
					}
				}
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		open = again
		return failed
	})
}

// storeAll stores messages, all on their way at the same time as far as the link has
// room, and returns the error of each. It stores none twice that was acknowledged.
// Only a transient error of a message is tried again.
func (s Store) storeAll(ctx context.Context, messages []*nats.Msg) ([]error, error) {
	results := make([]error, len(messages))
	open := make([]int, len(messages))
	for i := range open {
		open[i] = i
	}
	_, err := jetstream.RetryWhenFull(ctx, s.c, s.full, s.stream(), func(ctx context.Context) (struct{}, error) {
		waits := make([]<-chan error, 0, len(open))
		var failed error
		for _, i := range open {
			wait, err := s.c.StoreBulk(ctx, messages[i])
			if err != nil {
				failed = err
				break
			}
			waits = append(waits, wait)
		}
		again := open[len(waits):]
		for n, wait := range waits {
			err := receive(ctx, wait)
			if errors.Is(err, jetstream.ErrFull) || jetstream.Transient(err) || ctx.Err() != nil {
				again = append(slices.Clip(again), open[n])
				failed = err
				continue
			}
			results[open[n]] = err
		}
		open = again
		return struct{}{}, failed
	})
	return results, err
}

// receive takes an error from a channel, or that of a context which ends first.
func receive(ctx context.Context, c <-chan error) error {
	select {
	case err := <-c:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// patiently repeats f while a cluster may report a value missing by mistake.
func (s Store) patiently(ctx context.Context, f func() error) error {
	began := time.Now()
	for backoff := pause.NewBackOff(); ; {
		err := f()
		if !errors.Is(err, jetstream.ErrNotFound) || time.Since(began) > patience || !s.replicated(ctx) || pause.For(ctx, backoff.NextBackOff()) != nil {
			return err
		}
	}
}

// facts are what a store knows of its stream.
type facts struct {
	mu         sync.Mutex
	at         time.Time
	replicated bool
	age        time.Duration
}

const (
	factsFor      = time.Minute     // facts are believed
	factsPatience = 2 * time.Second // for an answer
)

// known returns whether a replica may be behind, and the age at which messages expire.
// A role that may not see the stream, and a server that does not answer, make it expect
// replicas and the configured age.
func (s Store) known(ctx context.Context) (replicated bool, age time.Duration) {
	s.facts.mu.Lock()
	defer s.facts.mu.Unlock()
	if !s.facts.at.IsZero() && time.Since(s.facts.at) < factsFor {
		return s.facts.replicated, s.facts.age
	}
	ctx, cancel := context.WithTimeout(ctx, factsPatience)
	defer cancel()
	info, err := s.c.StreamInfoOnce(ctx, s.stream())
	s.facts.at, s.facts.replicated, s.facts.age = time.Now(), true, s.age
	if err == nil {
		s.facts.replicated = info.Config.Replicas > 1
		if most := info.Config.MaxAge; most > 0 {
			s.facts.age = min(s.age, most)
		}
	}
	return s.facts.replicated, s.facts.age
}

func (s Store) replicated(ctx context.Context) bool {
	replicated, _ := s.known(ctx)
	return replicated
}
