//go:build linux

package secrets

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/modpipe/modpipe"
	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/cli"
	"github.com/modpipe/modpipe/internal/files"
	"github.com/modpipe/modpipe/test/natstest"
	"github.com/modpipe/modpipe/worker"
)

// values are secrets of the kinds that are in use.
func values() map[string]string {
	pem := "-----BEGIN PRIVATE KEY-----\n"
	for i := range 8 {
		pem += base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "line %d of the key, with 48 bytes of it=>?", i)) + "\n"
	}
	return map[string]string{
		"TOKEN":    "gh+tok/0123456789-abcdefghijklmnopqrstuvwxyz",
		"PASSWORD": `p"ss w'rd\with $every%thing & <more> éè`,
		"CERT":     pem + "-----END PRIVATE KEY-----\n",
	}
}

// pipelineFile has modules that put secrets everywhere.
const pipelineFile = `
name: leaks
fail-fast: false
defaults: {ignore-failure: true, shell: bash, FROM}
modules:
  print: {run: 'echo "$TOKEN $PASSWORD" | tee /dev/stderr; cat "$CERT"; cat "$CERT" >&2'}
  bytes: {run: 'printf "%s\n%s\n" "$TOKEN" "$PASSWORD" | dd bs=1 status=none; for n in 2 3 5 7 11 13 17; do dd bs=$n status=none <"$CERT"; done'}
  cut: {run: 'for i in $(seq 1 ${#TOKEN}); do printf %s "${TOKEN:0:i}"; printf %s "${TOKEN:i}" | dd bs=9999 status=none; echo; done'}
  encoded: {run: 'for v in "$TOKEN" "$PASSWORD" "$(cat "$CERT")"; do base64 <<<"$v"; for p in "" a ab; do printf "$p%s" "$v" | base64 -w0; echo; done; printf %s "$v" | od -An -v -tx1 | tr -d " \n"; echo; done'}
  trace: {run: 'set -x; echo "$TOKEN" "$PASSWORD" >/dev/null'}
  warn: {run: 'echo "::error file=x::$TOKEN"; echo "::warning::$PASSWORD"'}
  fail: {run: 'echo "fatal: $TOKEN" >&2; exit 3', retry: {attempts: 2, delay: 1ms}}
  missing: {run: '"./$TOKEN"'}
  malformed: {run: 'printf "0123456789012345678901234567890123456789%s" "$TOKEN" >"$MODPIPE_OUTPUT"'}
  delimiter: {run: 'printf "x<<%s" "$PASSWORD" >"$MODPIPE_OUTPUT"'}
  timeout: {run: 'echo "$TOKEN"; printf %s "${TOKEN%?}"; sleep 300', timeout: 300ms, grace: 100ms}
  behind: {run: 'cp "$(command -v sleep)" "$TMPDIR/${TOKEN//\//_}"; "$TMPDIR/${TOKEN//\//_}" 300 & true', grace: 50ms}
  output: {run: 'printf "list=[\"%s\"]\nfine=1\n" "$TOKEN" >"$MODPIPE_OUTPUT"'}
  encoded-output: {run: 'echo "v=$(printf "x%s" "$PASSWORD" | base64 -w0)" >"$MODPIPE_OUTPUT"'}
  failed-output: {run: 'echo "t=$TOKEN" >"$MODPIPE_OUTPUT"; exit 1'}
  reader: {needs: [failed-output], always-run: true, env: {T: "${{ needs.failed-output.outputs.t ?? '' }}"}, run: 'cat "$MODPIPE_NEEDS"; echo "got $T"'}
  matrix: {needs: [output], matrix: {token: "${{ fromJSON(needs.output.outputs.list ?? '[]') }}"}, run: 'echo "$MODPIPE_MATRIX_TOKEN"'}
  condition: {needs: [failed-output], always-run: true, if: "(needs.failed-output.outputs.t ?? '') == ''", run: 'true'}
  artifact: {run: 'mkdir out; echo "$TOKEN" >out/npmrc', artifacts: {produce: {conf: "out/**"}}}
  archive: {run: 'base64 "$CERT" >key', artifacts: {produce: {key: key}}}
  on-failure: {run: 'cp "$CERT" log; exit 1', artifacts: {produce: [{name: log, path: log, when: always}]}}
  name: {run: 'mkdir out2; echo x >"out2/${TOKEN//\//_}"; ln -s "$PASSWORD" out2/link', artifacts: {produce: {names: "out2/**"}}}
  cache-dir: {run: 'echo "$TOKEN" >"$KEPT/x"', cache-dirs: {kept: {env: KEPT, key: k}}}
  cached: {run: 'echo "$TOKEN"; echo ok=1 >"$MODPIPE_OUTPUT"', cache: {inputs: ["x"], portable: true}}
  kept: {run: 'echo "$TOKEN" >"$TMPDIR/x"; cp "$CERT" "$TMPDIR"'}
`

type value struct{ Text string }

// program defines functions that do the same.
func program(masked bool) func(*modpipe.Builder) {
	return func(p *modpipe.Builder) { functions(p, masked) }
}

func functions(p *modpipe.Builder, masked bool) {
	options := []modpipe.Option{modpipe.IgnoreFailure()}
	if masked {
		options = append(options, modpipe.Secrets("TOKEN"))
	}
	read := func(ctx context.Context) string {
		v, _ := modpipe.Secret(ctx, "TOKEN")
		return cmp.Or(v, os.Getenv("TOKEN"))
	}
	add := func(name string, f func(context.Context) (value, error)) {
		modpipe.Add(p, name, modpipe.Call(f), options...)
	}
	add("log", func(ctx context.Context) (value, error) {
		modpipe.Logger(ctx).Info("with "+read(ctx), "token", read(ctx), "quoted", read(ctx)+" ")
		return value{}, nil
	})
	add("error", func(ctx context.Context) (value, error) {
		return value{}, fmt.Errorf("post: %w", errors.New(read(ctx)))
	})
	add("panic", func(ctx context.Context) (value, error) { panic(read(ctx)) })
	add("skip", func(ctx context.Context) (value, error) { return value{}, modpipe.Skip(read(ctx)) })
	add("result", func(ctx context.Context) (value, error) { return value{"x" + read(ctx)}, nil })
}

// site is a server, a worker with secrets, and everything that they leave.
type site struct {
	t             *testing.T
	server        *natstest.Server
	store, dir    string
	logs, printed bytes.Buffer
	reports       []string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	s.store = filepath.Join(s.dir, "store")
	for _, d := range []string{"tmp", "home", "workspace"} {
		natstest.Check(t, os.Mkdir(filepath.Join(s.dir, d), 0o755))
	}
	t.Setenv("TMPDIR", filepath.Join(s.dir, "tmp"))
	t.Setenv("HOME", filepath.Join(s.dir, "home"))
	t.Setenv("XDG_STATE_HOME", filepath.Join(s.dir, "home", "state"))
	t.Setenv("XDG_CACHE_HOME", filepath.Join(s.dir, "home", "cache"))
	t.Setenv("NATS_URL", "")
	s.server = natstest.StartServer(t, func(o *server.Options) { o.StoreDir = s.store })
	return s
}

// leak runs both pipelines on one worker. Without masks the values come from its
// environment.
func (s *site) leak(masked bool) {
	t := s.t
	built, err := modpipe.Build("leaks-go", program(masked))
	natstest.Check(t, err)
	cfg := worker.Config{Name: "w1", Slots: 4, Functions: built.Functions(), PassAll: true}
	given := t.TempDir()
	for name, value := range values() {
		natstest.Check(t, os.WriteFile(filepath.Join(given, name), []byte(value), 0o600))
	}
	from := "secrets: [TOKEN, PASSWORD, {CERT: {name: CERT, file: true}}]"
	if !masked {
		from = "pass-env: [TOKEN, PASSWORD, CERT]"
		t.Setenv("TOKEN", values()["TOKEN"])
		t.Setenv("PASSWORD", values()["PASSWORD"])
		t.Setenv("CERT", filepath.Join(given, "CERT"))
	}
	log := natstest.NewLog()
	cfg.Logger = log.Logger()
	conn, err := broker.Connect(t.Context(), broker.Config{URL: s.server.URL(), Name: "w1", Logger: cfg.Logger})
	natstest.Check(t, err)
	cfg.Files = files.New(files.Config{Dir: filepath.Join(s.dir, "files"), Remote: conn.Files, Keep: 2})
	file := filepath.Join(s.dir, "workspace", "leaks.yaml")
	natstest.Check(t, os.WriteFile(file, []byte(strings.Replace(pipelineFile, "FROM", from, 1)), 0o600))
	natstest.Check(t, os.WriteFile(filepath.Join(s.dir, "workspace", "x"), nil, 0o600))
	s.orchestrator(conn, cfg, file, given, program(masked))
	s.logs.WriteString(log.Text())
}

func (s *site) orchestrator(conn *broker.Conn, cfg worker.Config, file, given string, define func(*modpipe.Builder)) {
	t := s.t
	w, err := worker.New(conn, cfg)
	natstest.Check(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	created := make(chan struct{})
	go func() {
		defer close(ended)
		<-created
		_ = w.Run(ctx)
	}()
	defer func() { stop(); <-ended; conn.Close() }()
	run := func(args ...string) {
		var out bytes.Buffer
		p := cli.Process{Args: append(args, "--server", s.server.URL()), Env: os.Environ(), Dir: filepath.Dir(file), Stdout: &out, Stderr: &out}
		cli.Orchestrator(t.Context(), p)
		s.printed.Write(out.Bytes())
	}
	run("runs", "list") // creates what is missing
	close(created)
	reportFile := filepath.Join(s.dir, "report.json")
	run("run", file, "--progress", "json", "--report", reportFile, "--run-id", "r1", "--secrets-dir", given)
	for _, args := range [][]string{{"runs", "show", "r1"}, {"runs", "show", "r1", "-o", "json"}, {"runs", "logs", "r1"}, {"cache", "explain", "r1", "cached"}, {"workers", "list", "-o", "json"}} {
		run(args...)
	}
	rep, err := cli.Run(t.Context(), "leaks-go", define, cli.Options{SecretsDir: given, Server: s.server.URL(), Progress: &s.printed, Workspace: filepath.Dir(file)})
	natstest.Check(t, err)
	s.reports = append(s.reports, fmt.Sprintf("%+v", rep))
	text, err := os.ReadFile(reportFile)
	natstest.Check(t, err)
	s.reports = append(s.reports, string(text))
}

// search searches everything that is left: by the API of NATS, and, when the server has
// ended, in the files of its store.
func (s *site) search() *searcher {
	t := s.t
	found := newSearcher(values())
	nc := s.server.Connect(t)
	js, err := jetstream.New(nc)
	natstest.Check(t, err)
	streams := js.ListStreams(t.Context())
	var infos []*jetstream.StreamInfo
	for info := range streams.Info() {
		infos = append(infos, info)
	}
	natstest.Check(t, streams.Err())
	for _, info := range infos {
		stream, err := js.Stream(t.Context(), info.Config.Name)
		natstest.Check(t, err)
		for seq := max(1, info.State.FirstSeq); seq <= info.State.LastSeq; seq++ {
			m, err := stream.GetMsg(t.Context(), seq)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				continue
			}
			natstest.Check(t, err)
			found.search("stream "+info.Config.Name, []byte(m.Subject))
			found.search("stream "+info.Config.Name, m.Data)
			for k, v := range m.Header {
				found.search("stream "+info.Config.Name, []byte(k+": "+strings.Join(v, "\n")))
			}
		}
	}
	nc.Close()
	s.server.Stop()
	found.searchDir(t, "store", s.store)
	for _, dir := range []string{"tmp", "home", "files", "workspace"} {
		found.searchDir(t, dir, filepath.Join(s.dir, dir))
	}
	found.search("log", s.logs.Bytes())
	found.search("printed", s.printed.Bytes())
	for _, r := range s.reports {
		found.search("report", []byte(r))
	}
	return found
}

// TestNothingStoresASecret: every module below tries to.
func TestNothingStoresASecret(t *testing.T) {
	s := newSite(t)
	s.leak(true)
	found := s.search()
	for _, place := range slices.Sorted(maps.Keys(found.found)) {
		t.Errorf("%s", place)
	}
	t.Logf("searched %d bytes", found.bytes)
	if found.bytes < 100<<10 {
		t.Errorf("only %d bytes were searched", found.bytes)
	}
	printed := s.printed.String()
	for _, want := range []string{
		`output \"list\" contains the secret TOKEN`, `output \"v\" contains the secret PASSWORD`,
		"artifact conf: take files: read \\\"out/npmrc\\\": it contains the secret TOKEN", "cache directory kept: ", "its result contains the secret TOKEN", "***",
	} {
		if !strings.Contains(printed, want) {
			t.Errorf("%s is not in what was printed: %s", want, printed)
		}
	}
}

// TestSearchFindsWhatIsNotMasked in each of the places: the same run without masks.
func TestSearchFindsWhatIsNotMasked(t *testing.T) {
	s := newSite(t)
	s.leak(false)
	found := slices.Sorted(maps.Keys(s.search().found))
	for _, place := range []string{"stream MP_RUNS", "stream MP_LOGS", "store/", "files/", "printed", "report"} {
		if !slices.ContainsFunc(found, func(f string) bool { return strings.HasPrefix(f, place) }) {
			t.Errorf("nothing is found in %s: %s", place, strings.Join(found, "\n"))
		}
	}
}
