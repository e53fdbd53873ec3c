package simulate

import (
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/modpipe/modpipe/internal/attempt"
	"github.com/modpipe/modpipe/jobs"
)

// A code says with which key a message is signed: it is the key itself. No party
// uses a key that it was not given. Empty = the message is not signed.
type code string

// keyring holds the names of the secrets that an orchestrator has. The first one
// signs new runs.
type keyring []string

func (k keyring) first() string {
	if len(k) == 0 {
		return ""
	}
	return k[0]
}

// has reports whether a run whose keys follow from a secret can be verified.
func (k keyring) has(secret string) bool { return secret != "" && slices.Contains(k, secret) }

// lacks reports whether an orchestrator may not act for a run.
func (k keyring) lacks(secret string) bool { return secret != "" && !slices.Contains(k, secret) }

// attemptCode is the key of an attempt; empty without a secret. An orchestrator, which
// has all keys, signs an outcome with that of its attempt. No worker has the key of
// attempt 0.
func attemptCode(secret string, run jobs.RunID, id jobs.AttemptID) code {
	if secret == "" {
		return ""
	}
	return code(secret + "/" + string(run) + "/" + string(id.Module) + "/" + utoa(uint64(id.Attempt))) //nolint:gosec // not negative
}

// genuine returns the secret with which a record of a cell verifies; empty when it
// verifies with none.
func genuine(run jobs.RunID, e *jobs.Entry, signed code) string {
	secret, _, _ := strings.Cut(string(signed), "/")
	want := code("")
	if e.Record.Claim != nil || e.Record.Outcome != nil {
		want = attemptCode(secret, run, attemptIn(e))
	}
	if secret == "" || want != signed {
		return ""
	}
	return secret
}

// view is the log of a run as a reader with a keyring sees it.
type view struct {
	entries []jobs.Entry
	genuine []string
	secret  string // of the run, or with which the reader would sign it
	has     bool   // the reader has it
}

func (l *log) seenBy(k keyring) view {
	secret := l.secret
	if secret == "" {
		secret = k.first()
	}
	return view{slices.Clip(l.entries), slices.Clip(l.genuine), secret, k.has(secret)}
}

// at returns an entry with what the reader knows of its writer.
func (v view) at(i int) jobs.Entry {
	e := v.entries[i]
	switch {
	case e.Cell == "" || !v.has:
	case v.genuine[i] == v.secret:
		e.Auth = jobs.Verified
	default:
		e.Auth = jobs.Forged
	}
	return e
}

// all returns all entries.
func (v view) all() []jobs.Entry {
	entries := make([]jobs.Entry, len(v.entries))
	for i := range entries {
		entries[i] = v.at(i)
	}
	return entries
}

// allSecrets is the keyring of the world itself, which sees which records are forged.
func (w *world) allSecrets() keyring {
	if !w.signs {
		return nil
	}
	return keyring{"A", "B"}
}

// castKeys decides who forges in the world, and with which secrets runs are signed.
// In some worlds no record is signed.
func (w *world) castKeys() {
	w.fraud = rand.New(rand.NewPCG(w.seed, 0x666f72676572))
	w.signs = w.fraud.Float64() >= 0.2
	if w.signs && !w.climate.orderly && w.fraud.Float64() < 0.4 {
		w.forger = newForger(w)
	}
}

// handOutKeys gives the orchestrators their keyrings. In some worlds one does not
// have the secret of the others, or signs new runs with another one. The server loses
// nothing there: after the loss of its first takeover, a run could go on with another
// secret, and workers would not believe its orchestrator about the jobs of before.
func (w *world) handOutKeys() {
	if !w.signs {
		return
	}
	for _, o := range w.orchestrators {
		o.secrets = keyring{"A"}
	}
	c := &w.climate
	if n := c.orchestrators; n > 1 && !c.shared && !c.apart && !c.desert && w.fraud.Float64() < 0.3 {
		w.orchestrators[n-1].secrets = []keyring{{"B"}, {"B", "A"}, {"A", "B"}}[w.fraud.IntN(3)]
		c.losses = 0
	}
}

// signature returns how a message with this code verifies.
func (c code) signature() attempt.Signature {
	return func(key []byte) bool { return len(key) > 0 && string(key) == string(c) }
}
