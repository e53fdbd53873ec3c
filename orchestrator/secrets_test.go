package orchestrator_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/secrets"
	"github.com/modpipe/modpipe/internal/signing"
	"github.com/modpipe/modpipe/internal/topology"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/orchestrator"
	"github.com/modpipe/modpipe/report"
	"github.com/modpipe/modpipe/test/natstest"
	"github.com/modpipe/modpipe/worker"
)

const hidden = "correct horse battery staple"

// waits is a module that leaves a mark when it has its secret.
const waits = "name: p\nmodules: {m: {run: 'echo \"$TOKEN\" >>marks', secrets: [TOKEN]}}"

// vault is a directory of secrets.
type vault struct {
	t   *testing.T
	dir string
}

func newVault(t *testing.T) *vault {
	t.Helper()
	return &vault{t, t.TempDir()}
}

func (v *vault) put(name, value string) {
	v.t.Helper()
	if err := os.WriteFile(filepath.Join(v.dir, name), []byte(value), 0o600); err != nil {
		v.t.Fatal(err)
	}
}

func (v *vault) source(rules string) *secrets.Source {
	v.t.Helper()
	cfg := secrets.Config{Dir: v.dir}
	if rules != "" {
		cfg.Rules = filepath.Join(v.t.TempDir(), "rules.yaml")
		if err := os.WriteFile(cfg.Rules, []byte(rules), 0o600); err != nil {
			v.t.Fatal(err)
		}
	}
	s, err := secrets.New(cfg)
	if err != nil {
		v.t.Fatal(err)
	}
	return s
}

func (s *site) report() *report.Report {
	s.t.Helper()
	rep, err := client.New(s.conn).Show(s.ctx, "r1")
	if err != nil {
		s.t.Fatal(err)
	}
	return rep
}

// held diverts the messages of a subject. Each that arrives can be received.
func (s *site) held(subject string) (messages <-chan *nats.Msg, restore func()) {
	s.t.Helper()
	nc := s.nats.Connect(s.t)
	arrived := make(chan *nats.Msg, 1000)
	own := nc.NewInbox()
	if _, err := nc.ChanSubscribe(own, arrived); err != nil {
		s.t.Fatal(err)
	}
	natstest.Check(s.t, nc.Flush())
	return arrived, s.nats.Divert(s.t, subject, own)
}

// output is the output of the module m of run r1 so far.
func (s *site) output() string {
	s.t.Helper()
	var text strings.Builder
	err := s.conn.Logs.Read(s.ctx, "r1", "m", 1, func(e broker.LogEntry) error {
		for _, part := range e.Chunk.Parts {
			text.Write(part.Data)
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return text.String()
}

func TestModulesFindTheirSecrets(t *testing.T) {
	s := newSite(t, 0)
	own, of := newVault(t), newVault(t)
	own.put("db", "known to the worker")
	of.put("TOKEN", hidden)
	of.put("cert", "line one\ntwo\n")
	of.put("pin", "1234")
	s.workerOf(worker.Config{Name: "w1", Secrets: own.source("")})
	s.submit("r1", `
name: p
modules:
  has:
    secrets: [TOKEN, {CERT: {name: cert, file: true}}, {PIN: {name: pin, allow-short: true}}, {DB: {name: db, from: worker}}]
    run: |
      test "$TOKEN" = "correct horse battery staple"
      test "$(tail -n 1 "$CERT")" = two
      test "$PIN" = 1234
      test "$DB" = "known to the worker"
  none: {needs: has, run: 'test -z "${TOKEN:-}${DB:-}"'}
`)
	s.leadAs("r1", orchestrator.Config{Secrets: of.source("")}).succeeds()
	rep := s.report()
	if got := rep.Modules[0].Attempts; len(got) != 1 || !slices.Equal(got[0].Secrets, []string{"TOKEN", "cert", "db", "pin"}) || got[0].Worker != "w1" {
		t.Errorf("attempts %+v", got)
	}
	claims, released := 0, 0
	for _, e := range s.log("r1") {
		if c := e.Record.Claim; c != nil && e.Cell == "has" {
			claims++
		}
		if e.Record.Released != nil {
			if released++; claims == 0 {
				t.Error("the release is older than the claim")
			}
		}
	}
	if claims != 1 || released != 1 {
		t.Errorf("%d claims and %d releases, want one of each", claims, released)
	}
}

// A run whose secrets are missing, too short or denied ends before it begins.
func TestARunWithoutItsSecretsDoesNotBegin(t *testing.T) {
	for name, c := range map[string]struct{ value, rules, want string }{
		"missing":   {want: "m: secret TOKEN: this orchestrator does not have it"},
		"too short": {value: "xyzzy", want: "m: secret TOKEN has 5 characters"},
		"denied":    {value: hidden, rules: "TOKEN: {pipelines: [other]}", want: "m: secret TOKEN: the rules"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, 1)
			v := newVault(t)
			if c.value != "" {
				v.put("TOKEN", c.value)
			}
			s.submit("r1", "name: p\nmodules: {a: {run: touch marks}, m: {needs: a, run: touch marks, secrets: [TOKEN]}, z: {run: touch marks, always-run: true}}")
			if err := s.leadAs("r1", orchestrator.Config{Secrets: v.source(c.rules)}).finish(); err != nil {
				t.Fatal(err)
			}
			rep := s.report()
			if rep.Status != report.RunFailed || !strings.Contains(rep.Error, c.want) || statuses(rep) != "a=cancelled m=cancelled z=cancelled" {
				t.Errorf("%s (%s): %s, want %q", rep.Status, rep.Error, statuses(rep), c.want)
			}
			if _, err := os.Stat(filepath.Join(s.dir, "marks")); err == nil {
				t.Error("a module ran")
			}
		})
	}
}

// A module waits for its secrets while its run has no orchestrator, and while the next
// one does not have them. Both are told.
func TestAModuleWaitsForSecretsOverATakeover(t *testing.T) {
	s := newSite(t, 1)
	v, other := newVault(t), newVault(t)
	v.put("TOKEN", hidden)
	arrived, restore := s.held(topology.WorkerSecret("w1"))
	s.submit("r1", waits)
	first := s.leadAs("r1", orchestrator.Config{Secrets: v.source("")})
	natstest.Receive(t, s.ctx, arrived)
	first.stop()
	_ = first.finish() // stopped
	restore()
	s.until("the module to tell that it waits", func() bool {
		return strings.Contains(s.output(), "modpipe: waiting for the secrets TOKEN: no orchestrator has sent them yet")
	})
	second := s.leadAs("r1", orchestrator.Config{Secrets: other.source("")})
	const lacks = "m: secret TOKEN: this orchestrator does not have it"
	if got := second.waiting(); !strings.Contains(got, lacks) {
		t.Errorf("it waits for %q", got)
	}
	s.until("the module to tell what is missing", func() bool { return strings.Contains(s.output(), lacks) })
	if len(s.marks()) > 0 {
		t.Error("the module ran without its secret")
	}
	other.put("TOKEN", hidden)
	second.succeeds()
	if got := strings.Join(s.marks(), " "); got != hidden {
		t.Errorf("the module found %q", got)
	}
}

func TestAWaitForSecretsEnds(t *testing.T) {
	for name, c := range map[string]struct {
		src    string
		end    func(*site)
		status report.Status
		want   string
	}{
		"with a cancellation": {waits, func(s *site) {
			natstest.Check(s.t, client.New(s.conn).Cancel(s.ctx, "r1", jobs.Cancel{By: "test", Reason: "enough"}))
		}, report.Cancelled, ""},
		"with its time-out": {strings.Replace(waits, "run:", "timeout: 300ms, run:", 1), func(*site) {}, report.TimedOut, "timed out after 300ms, waiting for its secrets"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, 1)
			v := newVault(t)
			v.put("TOKEN", hidden)
			arrived, restore := s.held(topology.WorkerSecret("w1"))
			defer restore()
			s.submit("r1", c.src)
			r := s.leadAs("r1", orchestrator.Config{Secrets: v.source("")})
			natstest.Receive(t, s.ctx, arrived)
			c.end(s)
			if err := r.finish(); err != nil {
				t.Fatal(err)
			}
			if m := s.report().Modules[0]; m.Status != c.status || m.Error != c.want || len(s.marks()) > 0 {
				t.Errorf("it is %s: %s", m.Status, m.Error)
			}
		})
	}
}

// A worker believes only what is signed with the key of its attempt, and opens only what
// is sealed for its claim.
func TestForgedSecretsAreIgnored(t *testing.T) {
	s := newSite(t, 1)
	v := newVault(t)
	v.put("TOKEN", hidden)
	arrived, restore := s.held(topology.WorkerSecret("w1"))
	s.submit("r1", waits)
	r := s.leadAs("r1", orchestrator.Config{Secrets: v.source("")})
	natstest.Receive(t, s.ctx, arrived)
	restore()
	var claim *jobs.Claim
	for _, e := range s.log("r1") {
		if e.Record.Claim != nil {
			claim = e.Record.Claim
		}
	}
	keys := natstest.Keys(t, 1)
	key := signing.AttemptKey(keys.RunKey(keys.ID(), "r1"), "m", 1)
	box, err := signing.NewBox()
	natstest.Check(t, err)
	send := func(to string, value string, key signing.Key, attempt jobs.Attempt, nonce string) {
		t.Helper()
		sealed, err := secrets.Seal(to, map[string]string{"TOKEN": value})
		natstest.Check(t, err)
		natstest.Check(t, s.conn.Control.SendSecrets("w1", key, &jobs.SealedSecrets{Run: "r1", Module: "m", Attempt: attempt, Nonce: nonce, Sealed: sealed}))
	}
	send(claim.XKey, "with a wrong key", signing.Key(strings.Repeat("x", signing.Size)), 1, claim.Nonce)
	send(claim.XKey, "without a key", nil, 1, claim.Nonce)
	send(box.Public(), "for another box", key, 1, claim.Nonce)
	send(claim.XKey, "for another attempt", key, 2, claim.Nonce)
	send(claim.XKey, "for another delivery", key, 1, "nonce")
	r.succeeds()
	if got := strings.Join(s.marks(), " "); got != hidden {
		t.Errorf("the module found %q", got)
	}
}

// Secrets are sent again until they are confirmed, by a message that is signed.
func TestSecretsAreRepeatedUntilTheyAreConfirmed(t *testing.T) {
	s := newSite(t, 1)
	v := newVault(t)
	v.put("TOKEN", hidden)
	nc := s.nats.Connect(t)
	sent := make(chan *nats.Msg, 1000)
	_, err := nc.ChanSubscribe(topology.WorkerSecret("w1"), sent)
	natstest.Check(t, err)
	natstest.Check(t, nc.Flush())
	_, restore := s.held(topology.Question("r1", "w1"))
	s.submit("r1", "name: p\nmodules: {m: {run: 'until test -e may-end; do sleep 0.02; done', secrets: [TOKEN]}}")
	r := s.leadAs("r1", orchestrator.Config{Secrets: v.source("")})
	seen := map[string]bool{}
	for range 3 {
		m := natstest.Receive(t, s.ctx, sent)
		if seen[string(m.Data)] {
			t.Error("two messages are alike: the sender's key is not new")
		}
		if seen[string(m.Data)] = true; strings.Contains(string(m.Data), hidden) {
			t.Error("the secret is not encrypted")
		}
	}
	restore()
	s.touch("may-end")
	r.succeeds()
	if released := s.report().Modules[0].Attempts[0].Secrets; len(released) != 1 {
		t.Errorf("released %q", released)
	}
}

// An attempt gets the value that its secret has when it starts.
func TestASecretIsReadForEachAttempt(t *testing.T) {
	s := newSite(t, 1)
	v := newVault(t)
	v.put("TOKEN", "first value")
	s.submit("r1", "name: p\nmodules: {m: {run: 'echo \"$TOKEN\" >>marks; printf \"second value\" >"+filepath.Join(v.dir, "TOKEN")+"; test $MODPIPE_ATTEMPT = 2', secrets: [TOKEN], retry: {attempts: 2, delay: 1ms}}}")
	s.leadAs("r1", orchestrator.Config{Secrets: v.source("")}).succeeds()
	if got := strings.Join(s.marks(), " "); got != "first value second value" {
		t.Errorf("the attempts found %q", got)
	}
}

// A lane of a module requires the secrets that its worker must have.
func TestOnlyAWorkerWithItsOwnSecretTakesTheModule(t *testing.T) {
	s := newSite(t, 1)
	s.submit("r1", "name: p\nmodules: {m: {run: 'echo $MODPIPE_WORKER $DB >>marks', secrets: {DB: {name: db, from: worker}}}}")
	r := s.lead("r1")
	v := newVault(t)
	v.put("db", "of the worker")
	s.workerOf(worker.Config{Name: "w2", Secrets: v.source("")})
	r.succeeds()
	if got := strings.Join(s.marks(), " "); got != "w2 of the worker" {
		t.Errorf("it ran as %q", got)
	}
}

// Nothing that NATS stores contains a secret, and no stream stores messages with secrets.
func TestSecretsAreNotStored(t *testing.T) {
	s := newSite(t, 1)
	v := newVault(t)
	v.put("TOKEN", hidden)
	s.submit("r1", strings.Replace(waits, "echo \"$TOKEN\" >>marks", "true", 1))
	s.leadAs("r1", orchestrator.Config{Secrets: v.source("")}).succeeds()
	nc := s.nats.Connect(t)
	js, err := nc.JetStream(nats.Context(s.ctx))
	natstest.Check(t, err)
	read := 0
	for info := range js.Streams() {
		for _, subject := range info.Config.Subjects {
			if strings.HasPrefix(subject, "mp.secret") || subject == ">" || subject == "mp.>" {
				t.Errorf("%s stores %s", info.Config.Name, subject)
			}
		}
		for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
			m, err := js.GetMsg(info.Config.Name, seq)
			if err != nil {
				continue // removed
			}
			if read++; strings.Contains(string(m.Data), hidden) {
				t.Errorf("%s stores the secret on %s", info.Config.Name, m.Subject)
			}
		}
	}
	if read < 5 {
		t.Errorf("only %d messages were read", read)
	}
}
