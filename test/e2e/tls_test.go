package e2e

import (
	"crypto/tls"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/modpipe/modpipe/test/natstest"
)

const small = `
name: e2e
modules:
  m: {run: 'true'}
`

// access is the address of a server for programs, with their credentials.
type access struct {
	args []string
	env  []string
}

// orchestrator, worker: programs that have access.
func (p *place) with(a access) *place {
	q := *p
	q.moreEnv = append(slices.Clone(p.moreEnv), a.env...)
	return &q
}

// enters checks that all programs can connect: a worker that waits for an orchestrator
// and executes its run, and doctor, which finds no fault.
func (p *place) enters(t *testing.T, a access) {
	t.Helper()
	q := p.with(a)
	w := start(t, q.workspace, q.env(), binaries.worker, append([]string{"--workspace", q.workspace}, a.args...)...)
	run := start(t, q.workspace, q.env(), binaries.orchestrator, append([]string{"run", q.file(t, small)}, a.args...)...)
	if code := run.wait(t); code != 0 {
		t.Errorf("run: exit %d", code)
	}
	doctor := start(t, q.workspace, q.env(), binaries.orchestrator, append([]string{"doctor"}, a.args...)...)
	if code := doctor.wait(t); code != 0 || !strings.Contains(doctor.stdout.String(), "none is denied") {
		t.Errorf("doctor: exit %d\n%s", code, doctor.stdout.String())
	}
	w.kill(t)
}

// isRefused checks that no program can connect, whatever its time-out, and that each
// reports why.
func (p *place) isRefused(t *testing.T, a access, exit int, says ...string) {
	t.Helper()
	q := p.with(a)
	patient := append(slices.Clone(a.args), "--connect-timeout", "1h")
	file := q.file(t, small)
	for _, prog := range []*program{
		start(t, q.workspace, q.env(), binaries.worker, append([]string{"--workspace", q.workspace}, patient...)...),
		start(t, q.workspace, q.env(), binaries.orchestrator, append([]string{"run", file}, patient...)...),
		start(t, q.workspace, q.env(), binaries.orchestrator, append([]string{"serve"}, patient...)...),
		start(t, q.workspace, q.env(), binaries.orchestrator, append([]string{"doctor"}, patient...)...),
	} {
		code := prog.wait(t)
		said := prog.stdout.String() + prog.stderrText()
		if code != exit {
			t.Errorf("%s: exit %d, want %d", prog.name, code, exit)
		}
		if strings.Contains(said, "hidden") { // what a test calls a secret
			t.Errorf("%s says a secret", prog.name)
		}
		for _, s := range says {
			if !strings.Contains(said, s) {
				t.Errorf("%s does not say %q", prog.name, s)
			}
		}
	}
}

func TestTLS(t *testing.T) {
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	later := time.Now().Add(time.Hour)
	good := ours.issue(t, "good", later, "127.0.0.1")
	client, stranger := ours.issue(t, "client", later), theirs.issue(t, "stranger", later)
	old := ours.issue(t, "old", time.Now().Add(-time.Minute))
	listen := func(c certificate, asks bool) *natstest.Server {
		return natstest.StartServer(t, func(o *server.Options) {
			o.TLS, o.TLSVerify, o.TLSConfig, o.TLSTimeout = true, asks, ours.server(t, c, asks), 5
		})
	}
	open, asking := listen(good, false), listen(good, true)
	expired, elsewhere := listen(ours.issue(t, "expired", time.Now().Add(-time.Minute), "127.0.0.1"), false), listen(ours.issue(t, "elsewhere", later, "nats.example"), false)
	plain := natstest.StartServer(t, nil)
	to := func(s *natstest.Server, args ...string) access {
		return access{args: append([]string{"--server", s.URL()}, args...)}
	}
	for name, a := range map[string]access{
		"flag":               to(open, "--tlsca", ours.file),
		"client certificate": to(asking, "--tlsca", ours.file, "--tlscert", client.file, "--tlskey", client.key),
		"variables":          {env: []string{"NATS_URL=" + asking.URL(), "NATS_CA=" + ours.file, "NATS_CERT=" + client.file, "NATS_KEY=" + client.key}},
	} {
		t.Run(name, func(t *testing.T) { newPlace(t, workers).enters(t, a) })
	}
	for name, c := range map[string]struct {
		a    access
		exit int
		says []string
	}{
		"no authority":                 {to(open), 3, []string{"no TLS connection with " + open.URL(), "unknown authority", "--tlsca"}},
		"another authority":            {to(open, "--tlsca", theirs.file), 3, []string{"unknown authority", "name the one that signed it with --tlsca"}},
		"another host":                 {to(elsewhere, "--tlsca", ours.file), 3, []string{"127.0.0.1", "is for nats.example: connect by such a name"}},
		"expired":                      {to(expired, "--tlsca", ours.file), 3, []string{"the certificate of the server is out of date"}},
		"no client certificate":        {to(asking, "--tlsca", ours.file), 3, []string{"a certificate of ours: --tlscert and --tlskey"}},
		"another's client certificate": {to(asking, "--tlsca", ours.file, "--tlscert", stranger.file, "--tlskey", stranger.key), 3, []string{"does not accept our certificate (--tlscert)"}},
		"expired client certificate":   {to(asking, "--tlsca", ours.file, "--tlscert", old.file, "--tlskey", old.key), 3, []string{"our certificate (--tlscert) is out of date since"}},
		"wrong key":                    {to(asking, "--tlsca", ours.file, "--tlscert", client.file, "--tlskey", old.key), 2, []string{"private key does not match"}},
		"plain server":                 {access{args: []string{"--server", strings.Replace(plain.URL(), "nats://", "tls://", 1)}}, 3, []string{"the server speaks no TLS"}},
		"no file":                      {to(open, "--tlsca", ours.dir+"/none.pem"), 2, []string{"--tlsca", "none.pem"}},
		"no certificate":               {to(open, "--tlsca", client.key), 2, []string{client.key}},
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); newPlace(t, workers).isRefused(t, c.a, c.exit, c.says...) })
	}
}

// TestTLSOverRestarts checks that a worker and a run continue after a restart of the
// server. While the server shows a certificate that they do not trust, they report this and
// wait for another one.
func TestTLSOverRestarts(t *testing.T) {
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	later := time.Now().Add(time.Hour)
	client := ours.issue(t, "client", later)
	right := ours.server(t, ours.issue(t, "right", later, "127.0.0.1"), true)
	wrong := ours.server(t, theirs.issue(t, "wrong", later, "127.0.0.1"), true)
	var shown atomic.Pointer[tls.Config]
	shown.Store(right)
	s := natstest.StartServer(t, func(o *server.Options) {
		o.TLS, o.TLSVerify, o.TLSConfig = true, true, right.Clone()
		o.TLSConfig.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return shown.Load(), nil }
	})
	p := newPlace(t, workers)
	p.url = s.URL()
	p.moreEnv = []string{"NATS_CA=" + ours.file, "NATS_CERT=" + client.file, "NATS_KEY=" + client.key}
	w := p.worker(t, "w1")
	dir := p.dir(t)
	gate := newGate(t, dir, "gate")
	r := p.startIn(t, dir, p.file(t, "name: e2e\nmodules: {a: {run: 'read _ <\"$D/gate\"'}, b: {needs: a, run: 'true'}}\n"))
	r.await(t, event{Event: "module.started", Module: "a"})
	shown.Store(wrong)
	s.Restart(t)
	w.awaitText(t, "unknown authority")
	shown.Store(right)
	w.awaitText(t, "reconnected to NATS")
	gate.open(t)
	r.result(t).want(t, 0, all(succeeded, "a", "b"))
}
