package broker

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/signing"
	"github.com/modpipe/modpipe/internal/topology"
	"github.com/modpipe/modpipe/jobs"
)

// SendSecrets sends an attempt its secrets, or says what is missing. key is that of the
// attempt.
func (k *Control) SendSecrets(worker string, key signing.Key, m *jobs.SealedSecrets) error {
	if !jobs.ValidWorker(worker) {
		return fmt.Errorf("%q cannot name a worker", worker)
	}
	return send(k.c, topology.WorkerSecret(worker), key, m)
}

// Secrets calls f, one call at a time, with every message that brings secrets to a
// worker until ctx ends (then it returns nil). Any program may have sent it: signed
// reports whether the sender had a key.
func (k *Control) Secrets(ctx context.Context, worker string, f func(m *jobs.SealedSecrets, signed func(signing.Key) bool)) error {
	return k.c.Listen(ctx, []string{topology.WorkerSecret(worker)}, func(msg *nats.Msg) {
		m, err := jobs.Unmarshal[jobs.SealedSecrets](msg.Data)
		if err != nil {
			k.c.Logger().Warn("dropped an unreadable message with secrets", "subject", msg.Subject, "error", err)
			return
		}
		f(&m, func(key signing.Key) bool { return verifies(msg, key) })
	})
}

// Confirm tells the orchestrator of a run that the secrets of an attempt have arrived.
// key is that of the attempt.
func (k *Control) Confirm(run jobs.RunID, key signing.Key, q *jobs.Question) error {
	if !topology.ValidToken(string(run)) || !jobs.ValidWorker(q.Worker) {
		return fmt.Errorf("run %q, worker %q: they must name a run and a worker", run, q.Worker)
	}
	return send(k.c, topology.Question(run, q.Worker), key, q)
}
