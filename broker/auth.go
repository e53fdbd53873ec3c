package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/internal/jetstream"
	"github.com/modpipe/modpipe/internal/signing"
	"github.com/modpipe/modpipe/internal/topology"
	"github.com/modpipe/modpipe/internal/topology/streams"
	"github.com/modpipe/modpipe/jobs"
)

// headerAuth is the header of a message with its code (package signing).
const headerAuth = "Mp-Auth"

// WithKeys returns the connection for a program that has signing keys: it verifies the
// records and the output of the runs whose key is among them. nil = no keys.
func (c *Conn) WithKeys(keys *signing.Keyring) *Conn {
	with, runs, logs, control := *c, *c.Runs, *c.Logs, *c.Control
	with.keys, runs.keys, logs.keys, control.keys = keys, keys, keys, keys
	with.Runs, with.Logs, with.Control = &runs, &logs, &control
	return &with
}

// Keys returns the signing keys of this program; nil = it has none.
func (c *Conn) Keys() *signing.Keyring { return c.keys }

// ForAttempt returns the logs of runs for the worker of an attempt, which signs what it
// writes into the cell with the key of the attempt, and verifies what it reads there.
// Without a key it does neither.
func (r *Runs) ForAttempt(key signing.Key) *Runs {
	signed := *r
	signed.signer = signer{attempt: key}
	return &signed
}

// ForRun returns the logs of runs for an orchestrator, which signs what it writes into
// the cells of a run. Without a key it signs nothing.
func (r *Runs) ForRun(key signing.Key) *Runs {
	signed := *r
	signed.signer = signer{run: key}
	return &signed
}

// ForAttempt returns the output of modules for the worker of an attempt, which signs its
// chunks. Without a key it signs nothing.
func (l *Logs) ForAttempt(key signing.Key) *Logs {
	signed := *l
	signed.signer = key
	return &signed
}

// ourHeaders begin the names of the headers that say how to read a body.
const ourHeaders = "Mp-"

// covered is what the code of a message covers: everything that modpipe reads of it.
func covered(m *nats.Msg) signing.Message {
	covers := signing.Message{Subject: m.Subject, Body: m.Data}
	for name, values := range m.Header {
		if strings.HasPrefix(name, ourHeaders) && name != headerAuth {
			covers.Headers = append(covers.Headers, name+": "+strings.Join(values, ", "))
		}
	}
	slices.Sort(covers.Headers)
	return covers
}

// sign adds the code of a message. Without a key it does nothing.
func sign(m *nats.Msg, key signing.Key) {
	if key != nil {
		jetstream.SetHeader(m, headerAuth, covered(m).MAC(key))
	}
}

// verifies reports whether a message has the code of a key.
func verifies(m *nats.Msg, key signing.Key) bool {
	return m.Header != nil && covered(m).Verify(key, m.Header.Get(headerAuth))
}

// FirstTakeover returns the first takeover of a run, which names the signing key of the
// run. ErrNotFound when no orchestrator has taken the run yet.
func (r *Runs) FirstTakeover(ctx context.Context, run jobs.RunID) (*jobs.Takeover, error) {
	m, err := r.c.First(ctx, streams.Runs, topology.Run(run, topology.Control))
	if err != nil {
		return nil, err
	}
	e, err := r.entry(ctx, m, nil)
	if err != nil {
		return nil, err
	}
	if e.Record.Takeover == nil {
		return nil, fmt.Errorf("%w: the control records of run %s do not begin with a takeover", jobs.ErrMalformed, run)
	}
	return e.Record.Takeover, nil
}

// verifier verifies the records of one run, which it sees in order. nil = a reader
// without keys.
type verifier struct {
	keys  *signing.Keyring
	run   jobs.RunID
	taken bool        // the first takeover was seen
	key   signing.Key // of the run; nil before the takeover, and where the keyring does not have it
}

// verifier returns a verifier for a run whose records are read from the first.
func (r *Runs) verifier(run jobs.RunID) *verifier {
	if r.keys == nil {
		return nil
	}
	return &verifier{keys: r.keys, run: run}
}

// verifierAfter returns a verifier for a run whose records are read from any place.
func (r *Runs) verifierAfter(ctx context.Context, run jobs.RunID, after uint64) (*verifier, error) {
	v := r.verifier(run)
	if v == nil || after == 0 {
		return v, nil
	}
	first, err := r.FirstTakeover(ctx, run)
	switch {
	case err == nil:
		v.takeover(first.Key)
	case !errors.Is(err, ErrNotFound):
		return nil, fmt.Errorf("find the signing key of run %s: %w", run, err)
	}
	return v, nil
}

// takeover notes a takeover. The first one names the key of the run.
func (v *verifier) takeover(id string) {
	if v == nil || v.taken {
		return
	}
	v.taken, v.key = true, v.keys.RunKey(id, v.run)
}

// judge tells whether a record of a cell is signed with the key of its attempt. A
// reader without the key of the run cannot tell. No program that obeys the rules
// writes into a cell before the first takeover.
func (v *verifier) judge(m *nats.Msg, cell jobs.ModuleID, rec *jobs.Record) jobs.Authenticity {
	switch {
	case v == nil || v.taken && v.key == nil:
		return jobs.Unverified
	case !v.taken:
		return jobs.Forged
	}
	return authenticity(m, signing.AttemptKey(v.key, cell, attemptOf(rec)))
}

// authenticity is that of a message whose signer should have a key.
func authenticity(m *nats.Msg, key signing.Key) jobs.Authenticity {
	if verifies(m, key) {
		return jobs.Verified
	}
	return jobs.Forged
}

// attemptOf is the attempt of a record of a cell; 0 = none, which no worker can have
// the key of.
func attemptOf(rec *jobs.Record) jobs.Attempt {
	switch {
	case rec.Claim != nil:
		return rec.Claim.Attempt
	case rec.Outcome != nil:
		return rec.Outcome.Attempt
	}
	return 0
}

// signer signs the records that a program writes into cells. The zero value signs
// nothing.
type signer struct {
	attempt signing.Key // of a worker: the key of its attempt
	run     signing.Key // of an orchestrator, which has the keys of all attempts
}

// key is the key of a record; nil = it is not signed.
func (s signer) key(cell jobs.ModuleID, rec *jobs.Record) signing.Key {
	if s.run != nil && cell != "" {
		return signing.AttemptKey(s.run, cell, attemptOf(rec))
	}
	return s.attempt
}
