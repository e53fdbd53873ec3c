package orchestrator

import (
	"context"
	"errors"

	"github.com/modpipe/modpipe/internal/secrets"
	"github.com/modpipe/modpipe/internal/signing"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/schedule"
)

// sayLacking is the delivery of the secrets of an attempt at which it is told that some
// are missing. A worker that has them already has answered the one before.
const sayLacking = 1

var errNoKey = errors.New("the run has no signing key, by which a worker recognises its secrets: see --signing-key")

// refusal returns why a run that no orchestrator has taken over before is not to begin;
// empty when it may.
func (t *takeover) refusal(state *schedule.Run, of *secrets.OfRun) string {
	if _, epoch := state.Control(); epoch != 0 {
		return ""
	}
	err := of.Check()
	if err == nil && t.key == nil && of.Sent() {
		err = errNoKey
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// deliver finds the secrets of an attempt, and sends them when their release is in the
// log. Values that are missing may come: the action is repeated.
func (l *loop) deliver(ctx context.Context, a schedule.Deliver) {
	m := &jobs.SealedSecrets{Run: l.run, Module: a.ID.Module, Attempt: a.ID.Attempt, Nonce: a.Claim.Nonce}
	key := l.attemptKey(a.ID)
	values, err := l.secrets.Values(a.Module)
	switch {
	case key == nil:
		err = errNoKey
	case err == nil && !a.Released:
		l.answer(ctx, func() { l.dispatcher.Release(a.ID, a.Claim.Nonce) })
		return
	case err == nil:
		m.Sealed, err = secrets.Seal(a.Claim.XKey, values)
	}
	if err != nil {
		m.Lacks = "orchestrator " + l.cfg.Name + ": " + err.Error()
		if a.Tries >= sayLacking {
			l.answer(ctx, func() { l.lacksSecrets(a, err.Error()) })
		}
	}
	if err := l.broker.Control.SendSecrets(a.Claim.Worker, key, m); err != nil {
		l.cfg.Logger.Debug("sending secrets failed; it is repeated", "run", l.run, "module", a.Module.Name, "error", err)
	}
}

// lacksSecrets tells once why an attempt waits for its secrets.
func (l *loop) lacksSecrets(a schedule.Deliver, why string) {
	if l.lacking[a.ID] == why {
		return
	}
	l.lacking[a.ID] = why
	l.cfg.Logger.Warn("a module waits for its secrets", "run", l.run, "module", a.Module.Name, "worker", a.Claim.Worker, "reason", why)
	l.notify(report.Event{Event: report.EventWaiting, Module: a.Module.Name, Attempt: int(a.ID.Attempt), Worker: a.Claim.Worker, Missing: why})
}

// confirmed notes that a worker has received the secrets of its attempt.
func (l *loop) confirmed(ctx context.Context, q *jobs.Question, signed func(signing.Key) bool) {
	id := jobs.AttemptID{Module: q.Module, Attempt: q.Attempt}
	if key := l.attemptKey(id); key == nil || !signed(key) {
		l.cfg.Logger.Debug("ignored a confirmation of secrets that is not signed with the key of the attempt", "run", l.run, "module", q.Module, "worker", q.Worker)
		return
	}
	l.answer(ctx, func() {
		if l.ours {
			l.dispatcher.Confirmed(id, q.Nonce)
		}
	})
}
