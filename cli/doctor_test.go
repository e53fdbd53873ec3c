package cli_test

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/modpipe/modpipe/cli"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/test/natstest"
)

type findings map[string]struct{ State, Found, Advice string }

// diagnose runs doctor and returns what it found, by check.
func diagnose(t *testing.T, p *program, want int, args ...string) findings {
	t.Helper()
	code, stdout, stderr := p.exec(t, append([]string{"doctor", "-o", "json"}, args...)...)
	if code != want || stderr != "" {
		t.Errorf("exit code %d, not %d: %s%s", code, want, stderr, stdout)
	}
	var shown struct {
		Findings []struct{ Check, State, Found, Advice string }
	}
	if err := json.Unmarshal([]byte(stdout), &shown); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	found := findings{}
	for _, f := range shown.Findings {
		if (f.State == "ok") != (f.Advice == "") {
			t.Errorf("what is not ok has advice, and nothing else: %+v", f)
		}
		found[f.Check] = struct{ State, Found, Advice string }{f.State, f.Found, f.Advice}
	}
	return found
}

func (f findings) want(t *testing.T, check, state string, texts ...string) {
	t.Helper()
	if f[check].State != state {
		t.Errorf("%s: %+v is not %q", check, f[check], state)
	}
	wantAll(t, f[check].Found+"\n"+f[check].Advice, texts...)
}

func TestDoctorEmbedded(t *testing.T) {
	p := newProgram(t, cli.Orchestrator)
	p.write(t, "x.yaml", `{name: x, modules: {a: {run: "true", requires: {tools: [sh]}}, b: {run: "true", requires: {tools: [no-such-tool], tags: [gpu]}}}}`)
	found := diagnose(t, p, 0)
	for check, f := range found {
		if f.State == "fault" {
			t.Errorf("%s: %+v", check, f)
		}
	}
	found.want(t, "nats", "ok", "no server is configured")
	found.want(t, "permissions", "ok", "none is denied")
	if _, err := os.Stat(filepath.Join(p.dir, "state")); err == nil {
		t.Error("it has made a store")
	}
	found = diagnose(t, p, 3, "x.yaml")
	found.want(t, "requirements", "fault", "module b: this machine lacks", "tool no-such-tool", "tag gpu")

	code, stdout, _ := p.exec(t, "doctor", "x.yaml", "-o", "name", "--server", "embedded")
	if code != 3 || !strings.Contains(stdout, "requirements\n") || strings.Contains(stdout, "jetstream") {
		t.Errorf("exit code %d, %q", code, stdout)
	}
	_, stdout, _ = p.exec(t, "doctor", "x.yaml")
	wantAll(t, stdout, "fault   requirements", "→ install what is missing", ", 1 fault\n", "ok      jetstream")
}

// TestDoctorStore: a store that cannot be written to, and one that a file is in the way of.
func TestDoctorStore(t *testing.T) {
	p := newProgram(t, cli.Orchestrator)
	found := diagnose(t, p, 3, "--store", "/proc/modpipe")
	found.want(t, "store", "fault", "/proc cannot be written to", "--store")
}

func TestDoctorFaultsOfUsage(t *testing.T) {
	p := newProgram(t, cli.Orchestrator)
	for args, want := range map[string]string{
		"doctor a b":               "unexpected argument",
		"doctor none.yaml":         "there is no file",
		"doctor --creds none":      "--creds",
		"doctor --workspace /none": "is not a directory",
	} {
		if code, _, stderr := p.exec(t, strings.Fields(args)...); code != 2 || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d, %s", args, code, stderr)
		}
	}
}

func TestDoctorUnreachable(t *testing.T) {
	p := newProgram(t, cli.Orchestrator)
	p.env = append(p.env, "NATS_URL=nats://127.0.0.1:1")
	found := diagnose(t, p, 3, "--connect-timeout", "100ms")
	found.want(t, "nats", "ok", "nats://127.0.0.1:1, from NATS_URL")
	found.want(t, "server", "fault", "unreachable", "is a server running there")
}

// TestDoctorSilentServer: a server that stops answering does not hold doctor up for long.
func TestDoctorSilentServer(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte(`INFO {"server_id":"X","version":"2.15.2","headers":true,"max_payload":1048576,"jetstream":true}` + "\r\n"))
			lines := bufio.NewScanner(c)
			for lines.Scan() && lines.Text() != "PING" {
			}
			_, _ = c.Write([]byte("PONG\r\n")) // and nothing ever again
		}
	}()
	p := newProgram(t, cli.Orchestrator)
	began := time.Now()
	found := diagnose(t, p, 3, "-s", "nats://"+l.Addr().String())
	found.want(t, "server", "fault", "does not answer")
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestDoctorWithoutJetStream(t *testing.T) {
	s := natstest.StartServer(t, func(o *server.Options) { o.StoreDir = "" })
	p := newProgram(t, cli.Orchestrator)
	found := diagnose(t, p, 3, "-s", s.URL())
	found.want(t, "jetstream", "fault", "start nats-server with -js", "enable it for the account")
	p.write(t, "x.yaml", "{name: x, modules: {a: {run: x}}}")
	code, _, stderr := p.exec(t, "run", "x.yaml", "-s", s.URL())
	wantAll(t, stderr, "start nats-server with -js")
	if code != 3 || strings.Contains(stderr, "cannot be reached") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

// TestDoctorRemote: what a healthy server has, a worker of another version,
// and that nothing is left behind.
func TestDoctorRemote(t *testing.T) {
	s := natstest.StartServer(t, nil)
	p := newProgram(t, cli.Orchestrator)
	p.write(t, "x.yaml", `{name: x, modules: {a: {run: "true", requires: {tools: ["go>=1.20"]}}, b: {run: "true", requires: {tags: [gpu]}}}}`)
	found := diagnose(t, p, 0, "-s", s.URL(), "x.yaml")
	found.want(t, "workers", "warning", "none", "worker --server "+s.URL())
	found.want(t, "requirements", "warning", "there is no worker")
	found.want(t, "streams", "ok", "0 of 10", "the first run makes MP_JOBS")
	found.want(t, "clock", "ok", "not compared")
	js, err := jetstream.New(s.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	for name := range js.StreamNames(t.Context()).Name() {
		t.Errorf("doctor has made %s", name)
	}

	c := connect(t, s.URL())
	registry, err := kv.OpenRegistry(t.Context(), c.Conn, 10*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	w := jobs.WorkerInfo{Name: "old-one", Incarnation: "i", Version: "v0.0.1", Slots: 4, Used: 1, Capabilities: jobs.Capabilities{
		OS: "linux", Arch: "amd64", Tools: map[string]string{"go": "", "sh": ""},
	}}
	if err := registry.Register(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	found = diagnose(t, p, 0, "-s", s.URL(), "x.yaml")
	found.want(t, "workers", "warning", "1 worker with 4 slots, 1 used: old-one (1/4)", "old-one v0.0.1", "run one version everywhere")
	found.want(t, "requirements", "warning", "module b: worker old-one lacks tag gpu")
	found.want(t, "registry", "ok", "silent for 10m is lost")
	found.want(t, "clock", "ok", "agree")
	found.want(t, "limits", "ok", "streams 5 (no limit)")
}

// TestDoctorNamesEachFault: permissions, limits, and streams with other
// settings.
func TestDoctorNamesEachFault(t *testing.T) {
	s := natstest.StartServer(t, func(o *server.Options) {
		o.MaxPayload = 64 << 10
		o.Users = []*server.User{
			{Username: "all", Password: "x"},
			{Username: "few", Password: "x", Permissions: &server.Permissions{
				Publish: &server.SubjectPermission{Deny: []string{"mp.run.*.spec", "$JS.API.STREAM.CREATE.>", "$JS.ACK.>"}},
			}},
		}
	})
	as := func(user string) string { return strings.Replace(s.URL(), "nats://", "nats://"+user+":x@", 1) }
	nc, err := nats.Connect(as("all"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "MP_RUNS", Subjects: []string{"mp.run.>"}, MaxMsgsPerSubject: 1, AllowDirect: true}); err != nil {
		t.Fatal(err)
	}
	p := newProgram(t, cli.Orchestrator)
	p.env = append(p.env, "NATS_URL="+as("few"))
	found := diagnose(t, p, 3)
	found.want(t, "payload", "fault", "64 KiB", "max_payload")
	found.want(t, "permissions", "fault", ".spec (write to a run's log)", "create MP_JOBS, which does not exist")
	found.want(t, "worker permissions", "warning", "$JS.ACK.MP_JOBS.", "acknowledge a job")
	found.want(t, "streams", "fault", "MP_RUNS: it keeps only 1 messages of a subject", "nats stream edit")
	for check, f := range found {
		if strings.Contains(f.Found+f.Advice, ":x@") {
			t.Errorf("%s shows the password: %+v", check, f)
		}
	}
}
