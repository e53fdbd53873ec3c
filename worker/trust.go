package worker

import (
	"log/slog"
	"slices"
	"sync"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/signing"
	"github.com/modpipe/modpipe/jobs"
)

// mostGreetings is how many orchestrators with other signing keys may greet a worker.
// A further one replaces the oldest.
const mostGreetings = 8

// trust knows by which keys messages to a worker are signed. Any program that reaches
// its subjects can send it messages. It believes a message about an attempt by the key
// in the job, and any other message by the key of a greeting, which an orchestrator
// derives from its signing key and seals for this start of the worker.
type trust struct {
	incarnation string
	box         *signing.Box
	log         *slog.Logger

	mu      sync.Mutex
	ids     []string               // of the signing keys, in the order of the greetings
	keys    map[string]signing.Key // by id
	ignored int
}

func newTrust(incarnation string, log *slog.Logger) (*trust, error) {
	box, err := signing.NewBox()
	if err != nil {
		return nil, err
	}
	return &trust{incarnation: incarnation, box: box, log: log, keys: map[string]signing.Key{}}, nil
}

// greeted adds the key of a greeting. It reports whether that is news, which the next
// heartbeat tells the orchestrators.
func (t *trust) greeted(g *jobs.Greeting) bool {
	if g.Incarnation != t.incarnation || g.ID == "" || len(g.ID) > maxKeyID {
		return false
	}
	key, err := t.box.Open(g.Key)
	if err != nil || len(key) != signing.Size {
		t.ignore("greeting")
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.keys[g.ID]; known {
		return false // the first one counts
	}
	if len(t.ids) == mostGreetings {
		delete(t.keys, t.ids[0])
		t.ids = t.ids[1:]
	}
	t.ids, t.keys[g.ID] = append(t.ids, g.ID), key
	return true
}

// maxKeyID bounds the id of a signing key.
const maxKeyID = 64

// believes reports whether an orchestrator that has greeted this worker has signed a
// message that concerns no attempt. It counts the others.
func (t *trust) believes(m *broker.Received, what string) bool {
	t.mu.Lock()
	keys := make([]signing.Key, 0, len(t.keys))
	for _, key := range t.keys {
		keys = append(keys, key)
	}
	t.mu.Unlock()
	if slices.ContainsFunc(keys, func(key signing.Key) bool { return m.Signed(key) }) {
		return true
	}
	t.ignore(what)
	return false
}

// ignore counts a message that is not believed. The first one is logged.
func (t *trust) ignore(what string) {
	t.mu.Lock()
	t.ignored++
	first := t.ignored == 1
	t.mu.Unlock()
	if first {
		t.log.Warn("ignored a message to this worker that no orchestrator has signed; later ones are only counted", "message", what)
	}
}

// describe adds to a heartbeat what orchestrators need to reach this worker.
func (t *trust) describe(w *jobs.WorkerInfo) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w.Box, w.Greeted, w.Ignored = t.box.Public(), slices.Clone(t.ids), t.ignored
}
