//go:build unix

package process

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/modpipe/modpipe/internal/orphans"
)

const (
	// guardSends is how long a message to the guard may take: its pipe is full
	// only when the guard does not read.
	guardSends = time.Second
	// guardAnswers is how long an answer may take. A guard that was suspended
	// with the machine resumes when the worker does.
	guardAnswers = time.Second
	// guardSilent is how long a guard may leave signs of life unanswered before
	// it is replaced.
	guardSilent = 5 * time.Second
	// guardReported is how often the replacement of a guard is reported: a machine
	// without room for threads ends one guard after the other.
	guardReported = time.Minute
)

// guard ends commands when this program cannot: all of them when the program was
// killed, and those that hold a key when it is stuck and its lease lapses. It is a
// process in a separate session, which this program starts from its own file; the
// sentry runs there.
//
// A guard that ends or does not answer is replaced. The program is unguarded for as
// long as that takes. A nil guard does nothing.
type guard struct {
	log *slog.Logger

	mu       sync.Mutex
	watcher  *watcher        // nil while no process runs
	groups   map[int]guarded // by leader
	starting map[string]bool // whether a command that is being started holds a key, by marker
	deadline int64           // for commands that hold a key; 0 = none
	asks     map[int]chan account
	next     int
	closing  bool
	replaced time.Time // when a replacement was last reported
}

type guarded struct {
	keyed  bool
	marker string
}

// account is what the guard knows of a command.
type account struct {
	ended  time.Time     // zero while it runs, or when the guard did not notice its end
	paused time.Duration // since its start: the time in which the guard was suspended too
	killed time.Time     // by the guard; zero = it was not
}

// watcher is one process of the guard.
type watcher struct {
	cmd      *exec.Cmd
	in       *os.File
	answered time.Time     // when it last answered; under the guard's mutex
	ended    chan struct{} // closed after its last answer
	failed   bool          // a message could not be sent; under the guard's mutex
}

// newGuard starts a guard.
func newGuard(log *slog.Logger) (*guard, error) {
	g := &guard{log: log, groups: map[int]guarded{}, starting: map[string]bool{}, asks: map[int]chan account{}}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.start(); err != nil {
		return nil, err
	}
	return g, nil
}

// start starts a process and announces all commands to it. The caller holds mu.
func (g *guard) start() error {
	in, err := newOwnPipe()
	if err != nil {
		return fmt.Errorf("start the guard: %w", err)
	}
	out, err := newOwnPipe()
	if err != nil {
		in.close()
		return fmt.Errorf("start the guard: %w", err)
	}
	w := &watcher{
		cmd: &exec.Cmd{Path: ownFile(), Args: []string{guardName}, Env: guardEnvironment(), Dir: "/", Stdin: in.r, Stdout: out.w},
		in:  in.w, answered: time.Now(), ended: make(chan struct{}),
	}
	ownSession(w.cmd)
	if err := orphans.Start(w.cmd); err != nil {
		in.close()
		out.close()
		return fmt.Errorf("start the guard: %w", err)
	}
	_, _ = in.r.Close(), out.w.Close() // the process has copies
	g.watcher = w
	go g.receive(w, out.r) // ends with the process, which close and replace wait for
	for pid, x := range g.groups {
		g.send("+ %d %d %s", pid, flag(x.keyed), x.marker)
	}
	for marker, keyed := range g.starting {
		g.send("~ %d %s", flag(keyed), marker)
	}
	g.send("b %d", g.deadline)
	return nil
}

type ownPipe struct{ r, w *os.File }

func newOwnPipe() (p ownPipe, err error) {
	p.r, p.w, err = os.Pipe()
	return p, err
}

func (p ownPipe) close() { _, _ = p.r.Close(), p.w.Close() }

func flag(on bool) int {
	if on {
		return 1
	}
	return 0
}

// send writes one line. The caller holds mu.
func (g *guard) send(format string, args ...any) {
	w := g.watcher
	if w == nil || w.failed {
		return
	}
	_ = w.in.SetWriteDeadline(time.Now().Add(guardSends))
	if _, err := fmt.Fprintf(w.in, format+"\n", args...); err != nil {
		w.failed = true
	}
}

// receive receives the answers of a watcher until it ends.
func (g *guard) receive(w *watcher, from io.ReadCloser) {
	defer close(w.ended)
	defer func() { _ = from.Close() }() // it was read to its end
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		g.mu.Lock()
		w.answered = time.Now()
		if len(words) == 5 && words[0] == "!" {
			g.answer(words[1:])
		}
		g.mu.Unlock()
	}
}

// answer delivers an answer to the call that waits for it. The caller holds mu.
func (g *guard) answer(words []string) {
	var n [4]int64
	for i, word := range words {
		n[i], _ = strconv.ParseInt(word, 10, 64) // our own program wrote it
	}
	ask, ok := g.asks[int(n[0])]
	if !ok {
		return
	}
	delete(g.asks, int(n[0]))
	ask <- account{ended: fromMonotonic(n[1]), paused: time.Duration(n[2]), killed: fromMonotonic(n[3])}
}

// starts announces a command before its start: this program may be killed before it
// knows the process. begun or notStarted follows.
func (g *guard) starts(marker string, keyed bool) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.starting[marker] = keyed
	g.send("~ %d %s", flag(keyed), marker)
}

func (g *guard) notStarted(marker string) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.starting, marker)
	g.send("x 0 %s", marker)
}

// begun announces the process of a command, and ended its end.
func (g *guard) begun(p *process, keyed bool) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.starting, p.marker)
	g.groups[p.pid] = guarded{keyed, p.marker}
	g.send("+ %d %d %s", p.pid, flag(keyed), p.marker)
}

func (g *guard) ended(p *process) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.groups, p.pid)
	g.send("- %d", p.pid)
}

// beat is a sign of life. At the deadline the guard kills the commands that hold a
// key, unless another sign moves it; zero = never.
func (g *guard) beat(deadline time.Time) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deadline = 0
	if !deadline.IsZero() {
		g.deadline = monotonic() + int64(time.Until(deadline))
	}
	g.send("b %d", g.deadline)
}

// account asks what the guard knows of a command. Without an answer it returns the
// zero value.
func (g *guard) account(p *process) account {
	if g == nil {
		return account{}
	}
	ask := make(chan account, 1)
	g.mu.Lock()
	g.next++
	id := g.next
	g.asks[id] = ask
	g.send("? %d %d", id, p.pid)
	g.mu.Unlock()
	limit := time.NewTimer(guardAnswers)
	defer limit.Stop()
	select {
	case a := <-ask:
		return a
	case <-limit.C:
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.asks, id)
	return account{}
}

// Beat is a sign of life of this program. deadline is the time at which the guard
// has to kill the commands that hold a key, unless a later sign moves it; zero =
// never.
func (x *Executor) Beat(deadline time.Time) { x.guard.beat(deadline) }

// Watch gives signs of life to the guard until ctx ends, and replaces a guard that
// has ended or does not answer.
func (x *Executor) Watch(ctx context.Context, interval time.Duration, deadline func() time.Time) error {
	if x.guard == nil {
		return nil
	}
	every := time.NewTicker(interval)
	defer every.Stop()
	last := time.Now()
	for {
		select {
		case <-every.C:
		case <-ctx.Done():
			return nil
		}
		x.guard.beat(deadline())
		now := time.Now()
		if now.Sub(last) < guardSilent/2 { // else the guard may have been suspended with this program
			x.guard.check(now)
		}
		last = now
	}
}

// check replaces a watcher that has ended or does not answer.
func (g *guard) check(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closing {
		return
	}
	why := ""
	if w := g.watcher; w != nil {
		select {
		case <-w.ended:
			why = "it has ended"
		default:
			if w.failed || now.Sub(w.answered) > guardSilent {
				why = "it does not answer"
			}
		}
		if why == "" {
			return
		}
		g.discard(w)
	}
	if err := g.start(); err != nil {
		g.log.Warn("the guard cannot be replaced: modules would outlive this worker if it is killed", "error", err)
		return
	}
	report := g.log.Debug
	if now.Sub(g.replaced) >= guardReported {
		report, g.replaced = g.log.Warn, now
	}
	report("replaced the guard that ends modules when this worker cannot", "reason", cmp.Or(why, "there was none"))
}

// discard kills a watcher: a suspended one must not act on outdated knowledge when it
// resumes. The caller holds mu.
func (g *guard) discard(w *watcher) {
	_ = w.cmd.Process.Kill()
	_ = w.in.Close()
	_ = w.cmd.Wait()
	orphans.Done(w.cmd.Process.Pid)
	g.watcher = nil
}

// close ends the guard, which kills the commands that still run.
func (g *guard) close() {
	if g == nil {
		return
	}
	g.mu.Lock()
	g.closing = true
	w, left := g.watcher, len(g.groups)
	if w == nil {
		g.mu.Unlock()
		return
	}
	if left == 0 {
		g.discard(w)
		g.mu.Unlock()
		<-w.ended
		return
	}
	_ = w.in.Close()
	g.mu.Unlock()
	<-w.ended
	_ = w.cmd.Wait()
	orphans.Done(w.cmd.Process.Pid)
}

// fromMonotonic converts a reading of the clock that the guard and this program
// share; zero for 0.
func fromMonotonic(at int64) time.Time {
	if at == 0 {
		return time.Time{}
	}
	return time.Now().Add(time.Duration(at - monotonic()))
}

// monotonic reads the clock that all processes of the machine share.
func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); errors.Is(err, nil) {
		return ts.Nano()
	}
	return time.Now().UnixNano()
}
