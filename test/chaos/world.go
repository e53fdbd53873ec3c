package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/pause"
	"github.com/modpipe/modpipe/kv"
	"github.com/modpipe/modpipe/test/chaos/watch"
)

// world has the servers, the programs and the watchers of one phase.
type world struct {
	dir      string
	bin      binaries
	can      features
	nodes    []*node
	programs []*program
	recorder *watch.Recorder
	began    time.Time
	conn     *broker.Conn // ours: it goes through no proxy
	at       places
	say      func(string, ...any)
	faults   int
	ledger   *ledger
	forgets  bool // NATS may lose its store

	mu     sync.Mutex
	pauses map[string][]interval
	stalls []interval
	losses []interval // times of which NATS has lost acknowledged messages
	denied time.Time  // when NATS last refused the login of the programs
	failed []string
	calm   func() // ends the faults
}

// fail notes a violation that no fault excuses. It ends the faults, because the state at
// that moment explains most.
func (w *world) fail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = append(w.failed, fmt.Sprintf(format, args...))
	w.say(format, args...)
	w.calm()
}

func (w *world) hasFailed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.failed) > 0
}

// pauseBegins notes that a worker is stopped; pauseEnds takes what it returns.
func (w *world) pauseBegins(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pauses[name] = append(w.pauses[name], interval{w.recorder.Now(), 1 << 62})
	return len(w.pauses[name]) - 1
}

func (w *world) pauseEnds(name string, i int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pauses[name][i].to = w.recorder.Now()
}

// crowd is the number of programs of each kind.
type crowd struct{ nodes, workers, serves int }

const slotsEach = 4

// newWorld starts the servers of a phase and creates its programs, which do not run yet.
func newWorld(ctx context.Context, dir string, bin binaries, can features, c crowd, rng *rand.Rand, say func(string, ...any)) (*world, error) {
	w := &world{
		dir: dir, bin: bin, can: can, say: say, pauses: map[string][]interval{}, calm: func() {},
		at: places{member: bin.member, socket: filepath.Join(dir, "socket")},
	}
	var err error
	if w.nodes, err = newNodes(ctx, dir, bin.nats, c.nodes); err != nil {
		return nil, err
	}
	for _, n := range w.nodes {
		if err := n.up(); err != nil {
			return nil, err
		}
	}
	if err := awaitHealthy(ctx, w.nodes); err != nil {
		return w, err
	}
	if err := w.connect(ctx); err != nil {
		return w, err
	}
	return w, w.people(ctx, c, rng)
}

// connect connects, and creates streams and buckets with the replicas of a cluster.
func (w *world) connect(ctx context.Context) error {
	log, err := os.Create(filepath.Join(w.dir, "chaos.log"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, nodePatience)
	defer cancel()
	w.conn, err = broker.Connect(ctx, broker.Config{
		URL: w.direct(), Name: "chaos", Replicas: len(w.nodes), Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		return err
	}
	for _, open := range []func() error{
		func() error { _, err := kv.OpenRegistry(ctx, w.conn.Conn, 0); return err },
		func() error { _, err := kv.OpenLanes(ctx, w.conn.Conn); return err },
		func() error { _, err := kv.OpenStats(ctx, w.conn.Conn); return err },
		func() error { _, err := kv.OpenLeases(ctx, w.conn.Conn); return err },
	} {
		if err := open(); err != nil {
			return err
		}
	}
	return nil
}

// direct returns the addresses of NATS without a proxy.
func (w *world) direct() string {
	var urls []string
	for _, n := range w.nodes {
		urls = append(urls, "nats://"+observer+"@"+n.client)
	}
	return strings.Join(urls, ",")
}

// people creates the workers and orchestrators.
func (w *world) people(ctx context.Context, c crowd, rng *rand.Rand) error {
	add := func(role, place string, launch func(name, urls string) (*process, error)) error {
		p, err := newProgram(ctx, role, place, w.nodes, rand.New(rand.NewPCG(rng.Uint64(), 1)), w.say) //nolint:gosec // chance that can be repeated
		if err != nil {
			return err
		}
		p.launch, p.refused = launch, w.refusedLately
		w.programs = append(w.programs, p)
		return nil
	}
	for i := range c.workers {
		if err := add(roleWorker, fmt.Sprintf("w%d", i+1), w.launchWorker); err != nil {
			return err
		}
	}
	for i := range c.serves {
		if err := add(roleServe, fmt.Sprintf("o%d", i+1), w.launchServe); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) launchWorker(name, urls string) (*process, error) {
	return launch(w.dir, name, w.env(), w.bin.worker, "--server", urls, "--name", name, "--workspace", w.dir,
		"--max-parallel", fmt.Sprint(slotsEach), "--drain-timeout", "500ms")
}

func (w *world) launchServe(name, urls string) (*process, error) {
	return launch(w.dir, name, w.env(), w.bin.orchestrator, "serve", "--server", urls, "--name", name)
}

// env returns the small, known environment of a program.
func (w *world) env() []string {
	home := filepath.Join(w.dir, "home")
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + os.TempDir(),
		"XDG_STATE_HOME=" + filepath.Join(home, "state"), "XDG_CONFIG_HOME=" + filepath.Join(home, "config"),
	}
}

// watching runs the recorder and the check for pauses of the machine while f runs.
func (w *world) watching(ctx context.Context, f func(context.Context) error) error {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "unix", w.at.socket)
	if err != nil {
		return err
	}
	w.recorder, w.began = watch.NewRecorder(), time.Now()
	watching, cancel := context.WithCancel(ctx)
	g, watching := errgroup.WithContext(watching)
	g.Go(func() error { return w.recorder.Serve(watching, l) })
	g.Go(func() error { w.lookForStalls(watching); return nil })
	g.Go(func() error {
		defer cancel()
		return f(watching)
	})
	return g.Wait()
}

// An overloaded machine sometimes stops all processes.
const (
	stallLook  = 20 * time.Millisecond
	stallLeast = 250 * time.Millisecond
)

func (w *world) lookForStalls(ctx context.Context) {
	last := w.recorder.Now()
	for pause.For(ctx, stallLook) == nil {
		now := w.recorder.Now()
		if now-last > stallLeast {
			w.mu.Lock()
			w.stalls = append(w.stalls, interval{last, now})
			w.mu.Unlock()
			w.say("the machine stood still for %v", (now - last).Round(time.Millisecond))
		}
		last = now
	}
}

// close ends the remaining processes of the phase.
func (w *world) close() {
	if w.conn != nil {
		w.conn.Close()
	}
	for _, n := range w.nodes {
		if n.process != nil {
			n.kill()
		}
	}
}
