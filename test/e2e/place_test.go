package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// mode is the way in which runs are started.
type mode string

const (
	standalone mode = "standalone"
	workers    mode = "workers"
)

// place is where the runs of one test happen.
type place struct {
	mode      mode
	workspace string // where pipeline files are and commands run, in both modes
	home      string // of the programs: their state and configuration
	url       string // of the server that workers join
	scratch   string // for files of runs
	runArgs   []string
	runs      int
	path      string   // put before PATH for workers and embedded workers
	moreEnv   []string // of the programs
}

// inBothModes runs a scenario with 8 slots: in one process, and over two
// workers.
func inBothModes(t *testing.T, scenario func(t *testing.T, p *place)) {
	inBothModesWith(t, func(*testing.T, *place) {}, scenario)
}

// inBothModesWith is inBothModes with something to do before workers start.
func inBothModesWith(t *testing.T, prepare, scenario func(t *testing.T, p *place)) {
	t.Run(string(standalone), func(t *testing.T) {
		p := newPlace(t, standalone)
		p.runArgs = []string{"--max-parallel", "8"}
		prepare(t, p)
		scenario(t, p)
	})
	t.Run(string(workers), func(t *testing.T) {
		p := newPlace(t, workers)
		prepare(t, p)
		p.server(t)
		p.worker(t, "w1", "--max-parallel", "4")
		p.worker(t, "w2", "--max-parallel", "4")
		scenario(t, p)
	})
}

// onOneWorker runs a scenario with so many slots on a single worker.
func onOneWorker(t *testing.T, slots int, scenario func(t *testing.T, p *place)) {
	t.Run(string(standalone), func(t *testing.T) {
		p := newPlace(t, standalone)
		p.runArgs = []string{"--max-parallel", strconv.Itoa(slots)}
		scenario(t, p)
	})
	t.Run(string(workers), func(t *testing.T) {
		p := newPlace(t, workers)
		p.server(t)
		p.worker(t, "w1", "--max-parallel", strconv.Itoa(slots))
		scenario(t, p)
	})
}

// withOwnWorkers runs a scenario that starts its workers itself, with the
// tags that its modules require: they join a server, or an embedded run that
// listens (whose own worker has no tags).
func withOwnWorkers(t *testing.T, scenario func(t *testing.T, p *place)) {
	t.Run(string(standalone), func(t *testing.T) {
		p := newPlace(t, standalone)
		addr := freeAddress(t)
		p.url = "nats://" + addr
		p.runArgs = []string{"--max-parallel", "1", "--listen", addr}
		scenario(t, p)
	})
	t.Run(string(workers), func(t *testing.T) {
		p := newPlace(t, workers)
		p.server(t)
		scenario(t, p)
	})
}

// newPlace creates separate directories. It starts nothing.
func newPlace(t testing.TB, m mode) *place {
	t.Helper()
	dir := t.TempDir()
	p := &place{mode: m, workspace: filepath.Join(dir, "workspace"), home: filepath.Join(dir, "home"), path: filepath.Join(dir, "bin")}
	for _, d := range []string{p.workspace, p.home, p.path} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p.scratch = p.workspace
	t.Cleanup(func() { killLeftOvers(p.scratch) })
	return p
}

// env is the environment of a program: small and known, so that tests do not
// depend on whose machine it is.
func (p *place) env(more ...string) []string {
	return append([]string{
		"PATH=" + p.path + ":" + os.Getenv("PATH"),
		"HOME=" + p.home,
		"XDG_STATE_HOME=" + filepath.Join(p.home, "state"),
		"XDG_CONFIG_HOME=" + filepath.Join(p.home, "config"),
		"TMPDIR=" + os.TempDir(),
		"NOT_FOR_MODULES=secret",
	}, append(slices.Clone(p.moreEnv), more...)...)
}

// server starts a NATS server for this test.
func (p *place) server(t testing.TB) *natsServer {
	t.Helper()
	s := &natsServer{addr: freeAddress(t), store: filepath.Join(p.home, "nats")}
	s.start(t)
	p.url = "nats://" + s.addr
	return s
}

// worker starts a worker that joins the place's server.
func (p *place) worker(t testing.TB, name string, args ...string) *program {
	t.Helper()
	return p.workerAt(t, p.url, name, args...)
}

func (p *place) workerAt(t testing.TB, url, name string, args ...string) *program {
	t.Helper()
	args = append([]string{"--server", url, "--name", name, "--workspace", p.workspace}, args...)
	return start(t, p.workspace, p.env(), binaries.worker, args...)
}

// run is one `orchestrator run`.
type run struct {
	*program
	dir        string // $D of its modules
	reportFile string
}

// result is the result of a run that has ended.
type result struct {
	Exit   int
	Report report
	Events []event
	Stdout string
	Stderr string // without events of output
	dir    string
}

// file writes a pipeline file into the workspace.
func (p *place) file(t testing.TB, yaml string) string {
	t.Helper()
	p.runs++
	path := filepath.Join(p.scratch, fmt.Sprintf("pipeline-%d.yaml", p.runs))
	if err := os.WriteFile(path, []byte(yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// start starts a run of a pipeline. Its modules find a directory of the
// run's own in $D.
func (p *place) start(t testing.TB, yaml string, args ...string) *run {
	t.Helper()
	return p.startFile(t, p.file(t, yaml), args...)
}

func (p *place) startFile(t testing.TB, file string, args ...string) *run {
	t.Helper()
	return p.startIn(t, p.dir(t), file, args...)
}

// startIn is startFile for a run whose directory exists and has gates in it.
func (p *place) startIn(t testing.TB, dir, file string, args ...string) *run {
	t.Helper()
	reportFile := filepath.Join(dir, "report.json")
	all := append([]string{"run", file, "--report", reportFile, "--progress", "json", "--env", "D=" + dir}, p.connection()...)
	all = append(append(all, p.runArgs...), args...)
	return &run{start(t, p.workspace, p.env(), binaries.orchestrator, all...), dir, reportFile}
}

func (p *place) connection() []string {
	if p.mode == workers {
		return []string{"--server", p.url}
	}
	return nil
}

// run runs a pipeline to its end.
func (p *place) run(t testing.TB, yaml string, args ...string) *result {
	t.Helper()
	return p.start(t, yaml, args...).result(t)
}

// result waits for the run's end and reads its report, which must exist if the run started.
func (r *run) result(t testing.TB) *result {
	t.Helper()
	res := &result{Exit: r.wait(t), dir: r.dir}
	r.mu.Lock()
	res.Events, res.Stdout, res.Stderr = slices.Clone(r.events), r.stdout.String(), r.stderr.String()
	r.mu.Unlock()
	text, err := os.ReadFile(r.reportFile)
	if err != nil {
		if !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return res
	}
	if err := json.Unmarshal(text, &res.Report); err != nil {
		t.Fatalf("report: %v\n%s", err, text)
	}
	return res
}

// orchestrator runs another command of the orchestrator to its end, on the
// place's server or embedded store.
func (p *place) orchestrator(t testing.TB, args ...string) *program {
	t.Helper()
	o := start(t, p.workspace, p.env(), binaries.orchestrator, append(args, p.connection()...)...)
	o.wait(t)
	return o
}

// want fails the test unless the run ended with this code and these statuses.
func (r *result) want(t testing.TB, exit int, statuses map[string]string) {
	t.Helper()
	if r.Exit != exit {
		t.Errorf("exit %d, want %d", r.Exit, exit)
	}
	if diff := cmp.Diff(statuses, r.Report.statuses()); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
	r.consistent(t)
}

// consistent checks the rules for every report and stream of events.
func (r *result) consistent(t testing.TB) {
	t.Helper()
	if r.Report.Version != 1 || r.Report.Run == "" || r.Report.Finished.IsZero() {
		t.Errorf("report: version %d, run %q, finished %v", r.Report.Version, r.Report.Run, r.Report.Finished)
	}
	if (r.Exit == 0) != (r.Report.Status == "succeeded") {
		t.Errorf("exit %d, but the report says %q", r.Exit, r.Report.Status)
	}
	ended := map[string]int{}
	for i, e := range r.Events {
		if e.V != 1 || e.Seq != i+1 {
			t.Errorf("event %d: v=%d seq=%d", i+1, e.V, e.Seq)
			break
		}
		if e.Event == "module.ended" {
			ended[e.Module]++
		}
	}
	for _, m := range r.Report.Modules {
		if ended[m.Name] != 1 {
			t.Errorf("%d events say that %q ended", ended[m.Name], m.Name)
		}
	}
}

// lines are the lines of a file that modules wrote in $D.
func (r *result) lines(t testing.TB, name string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// output returns the lines that a module printed on one stream.
func (r *result) output(module, stream string) []string {
	var lines []string
	for _, e := range r.Events {
		if e.Event == "module.output" && e.Module == module && e.Stream == stream {
			lines = append(lines, e.Text)
		}
	}
	return lines
}

// gate is a FIFO on which modules wait with `read _ <"$D/NAME"`, one line
// each, until the test opens it.
type gate struct{ f *os.File }

// dir creates a directory for a run whose gates must exist before it starts.
func (p *place) dir(t testing.TB) string {
	t.Helper()
	p.runs++
	dir := filepath.Join(p.scratch, fmt.Sprintf("run-%d", p.runs))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func newGate(t testing.TB, dir, name string) *gate {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0) // both ends: opening never waits
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &gate{f}
}

// open lets one module pass, now or when it comes.
func (g *gate) open(t testing.TB) {
	t.Helper()
	if _, err := g.f.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
}

// natsServer is a NATS server in its own process.
type natsServer struct {
	addr  string
	store string
	*program
}

// start starts the server, again on the same store and port, and waits until
// it answers.
func (s *natsServer) start(t testing.TB) {
	t.Helper()
	_, port, _ := strings.Cut(s.addr, ":")
	s.program = start(t, filepath.Dir(s.store), os.Environ(), binaries.nats, "-a", "127.0.0.1", "-p", port, "-js", "-sd", s.store)
	s.awaitText(t, "Server is ready")
}

// freeAddress is a free address of the loopback.
func freeAddress(t testing.TB) string {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// processes are those whose environment names a directory: all that modules
// of a run started, whichever parent they have now.
func processes(dir string) []int {
	var pids []int
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range files {
		env, err := os.ReadFile(f)
		all := "\x00" + string(env)
		if err != nil || !strings.Contains(all, "\x00D="+dir+"\x00") && !strings.Contains(all, "\x00D="+dir+"/") {
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(f, "/")[2]); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func killLeftOvers(dir string) {
	for _, pid := range processes(dir) {
		syscall.Kill(pid, syscall.SIGKILL) //nolint:errcheck // it may have gone
	}
}

// wantNoProcess fails the test when a process of the run is left.
func (r *result) wantNoProcess(t testing.TB) {
	t.Helper()
	for _, pid := range processes(r.dir) {
		command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		t.Errorf("process %d is left: %q", pid, strings.ReplaceAll(string(command), "\x00", " "))
	}
}

// gone waits until a process is no more.
func gone(t testing.TB, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd) //nolint:errcheck // only read
	ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if n, err := unix.Poll(ready, 1000); n == 1 || (err != nil && !errors.Is(err, unix.EINTR)) {
			return
		}
	}
	t.Fatalf("process %d is still there", pid)
}
