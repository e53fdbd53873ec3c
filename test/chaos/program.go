package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/modpipe/modpipe/internal/pause"
	"github.com/modpipe/modpipe/test/faultproxy"
)

// program is a worker or an orchestrator that is restarted after every end, as a service
// manager does. It reaches every node of NATS through a separate proxy.
type program struct {
	role    string
	place   string // at most one process has a place at a time
	proxies []*faultproxy.Proxy
	launch  func(name, urls string) (*process, error)
	refused func() bool // NATS has refused its login lately
	rng     *rand.Rand
	say     func(string, ...any)

	mu      sync.Mutex
	name    string // of the current process
	starts  int
	running *process
	since   time.Time
	killed  bool          // by us: any exit code is correct
	told    bool          // we have sent it the signal to end
	down    chan struct{} // closed when it may be started again; nil: immediately
	crashes []string
}

// The roles.
const (
	roleWorker = "worker"
	roleServe  = "serve"
)

// newProgram creates a program with its proxies.
func newProgram(ctx context.Context, role, place string, nodes []*node, rng *rand.Rand, say func(string, ...any)) (*program, error) {
	p := &program{role: role, place: place, rng: rng, say: say, name: place}
	for _, n := range nodes {
		x, err := faultproxy.New(ctx, n.client)
		if err != nil {
			return nil, err
		}
		p.proxies = append(p.proxies, x)
	}
	return p, nil
}

// urls returns its addresses of NATS.
func (p *program) urls() string {
	var urls []string
	for _, x := range p.proxies {
		urls = append(urls, "nats://program:"+password+"@"+x.Addr())
	}
	return strings.Join(urls, ",")
}

// run keeps the program and its proxies running until ctx ends. Then it ends the process.
func (p *program) run(ctx context.Context) error {
	carrying, cancel := context.WithCancel(context.WithoutCancel(ctx)) // as long as the process
	defer cancel()
	g, carrying := errgroup.WithContext(carrying)
	for _, x := range p.proxies {
		g.Go(func() error { return x.Run(carrying) })
	}
	err := p.keep(ctx)
	cancel()
	if carried := g.Wait(); err == nil {
		err = carried
	}
	return err
}

func (p *program) keep(ctx context.Context) error {
	for {
		running, err := p.begin()
		if err != nil {
			return err
		}
		select {
		case <-running.ended:
		case <-ctx.Done():
			p.mu.Lock()
			p.told = true
			p.mu.Unlock()
			return running.stop(context.WithoutCancel(ctx), stopping)
		}
		p.rest(ctx, running) // the next process ends immediately if ctx has ended
	}
}

// stopping is the time in which a program must end without faults.
const stopping = 20 * time.Second

// begin starts the next process. It has the name of the previous process or another one,
// because hosts do both.
func (p *program) begin() (*process, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.starts++
	if p.starts > 1 && p.rng.IntN(2) == 0 {
		p.name = fmt.Sprintf("%s-%d", p.place, p.starts)
	}
	var err error
	p.running, err = p.launch(p.name, p.urls())
	p.since, p.killed, p.told = time.Now(), false, false
	return p.running, err
}

// nameTaken is the exit code of a program whose name is taken by another process, or still
// by the previous one.
const nameTaken = 5

// unreachable is the exit code of a program whose first login was refused.
const unreachable = 3

// toldExits are the exit codes after the signal to end. The signal may have come before
// the program handled signals.
var toldExits = []int{0, 143}

// rest waits until the next process may be started.
func (p *program) rest(ctx context.Context, was *process) {
	down := p.ended(was)
	if was.exit() == nameTaken || was.exit() == unreachable {
		_ = pause.For(ctx, 300*time.Millisecond)
	}
	select {
	case <-down:
	case <-ctx.Done():
	}
}

// ended checks how the process ended.
func (p *program) ended(was *process) (down <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fine := p.killed || was.exit() == nameTaken || was.exit() == unreachable && p.refused() || p.told && slices.Contains(toldExits, was.exit())
	if !fine {
		p.crashes = append(p.crashes, fmt.Sprintf("%s exited with %d: %s", was.name, was.exit(), was.said()))
		p.say("%s exited with %d", was.name, was.exit())
	}
	if p.down == nil {
		open := make(chan struct{})
		close(open)
		return open
	}
	return p.down
}

// kill ends the process as a crash does. The next one starts after up.
func (p *program) kill() {
	p.mu.Lock()
	was := p.running
	p.killed, p.down = true, make(chan struct{})
	p.mu.Unlock()
	was.kill()
}

// up allows the start of the next process.
func (p *program) up() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.down)
	p.down = nil
}

// current returns the current process and its name.
func (p *program) current() (*process, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running, p.name
}

// settled reports whether its process has run for so long.
func (p *program) settled(d time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running != nil && !p.running.gone() && time.Since(p.since) > d
}

// faulty sets the state of its network.
func (p *program) faulty(f faultproxy.Fault) {
	for _, x := range p.proxies {
		x.Set(f)
	}
}

func (p *program) reset() {
	for _, x := range p.proxies {
		x.Reset()
	}
}
