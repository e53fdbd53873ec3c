package broker

import (
	"fmt"
	"slices"

	"github.com/modpipe/modpipe/internal/signing"
	"github.com/modpipe/modpipe/jobs"
)

// Greets reports whether a worker needs the greeting of this program: it has a box, and
// does not know the signing key that signs here.
func (k *Control) Greets(w *jobs.WorkerInfo) bool {
	return k.keys != nil && w.Box != "" && !slices.Contains(w.Greeted, k.keys.ID())
}

// Greet gives a worker the key by which it recognises what Order signs, sealed for its
// box. It may be lost, and is repeated until the worker's entry names the signing key.
func (k *Control) Greet(w *jobs.WorkerInfo) error {
	sealed, err := signing.Seal(w.Box, k.workerKey(w))
	if err != nil {
		return fmt.Errorf("greet worker %s: %w", w.Name, err)
	}
	return k.SendWorker(w.Name, nil, jobs.Control{Greet: &jobs.Greeting{Incarnation: w.Incarnation, ID: k.keys.ID(), Key: sealed}})
}

// Order sends a worker a message that concerns no attempt, signed with the key of the
// greeting. Without signing keys the worker ignores it.
func (k *Control) Order(w *jobs.WorkerInfo, m jobs.Control) error {
	return k.SendWorker(w.Name, k.workerKey(w), m)
}

// Probe asks a worker whether it still runs an attempt that it has claimed. The key of
// the attempt, which the worker may have forgotten, goes along, sealed for its box; nil =
// the run has no keys.
func (k *Control) Probe(w *jobs.WorkerInfo, p jobs.Probe, key signing.Key) error {
	if key != nil {
		sealed, err := signing.Seal(w.Box, key)
		if err != nil {
			return fmt.Errorf("ask worker %s: %w", w.Name, err)
		}
		p.Key = sealed
	}
	return k.Order(w, jobs.Control{Probe: &p})
}

func (k *Control) workerKey(w *jobs.WorkerInfo) signing.Key {
	return k.keys.WorkerKey(k.keys.ID(), w.Name, w.Incarnation)
}
