//go:build unix

package process

import (
	"bufio"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/modpipe/modpipe/internal/exec"
)

// guardName is what this program is called when it runs as a guard.
const guardName = "modpipe-guard"

// A guard has to run in any program that has a worker, a test of one as well,
// before that does anything of its own.
func init() { //nolint:gochecknoinits // see above
	if len(os.Args) == 1 && os.Args[0] == guardName {
		guardMain()
		os.Exit(0)
	}
}

// ownFile is the file of this program, also when another has taken its place.
func ownFile() string {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe"
	}
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}

// guardEnvironment keeps the guard small: it lives for as long as the worker.
func guardEnvironment() []string { return []string{"GOMAXPROCS=1", "GOGC=off", "GOMEMLIMIT=32MiB"} }

// sentry is what runs in the guard's process. One goroutine owns it.
type sentry struct {
	charges  map[int]*charge   // by leader
	starting map[string]*start // by marker: commands whose process is not known yet
	killed   map[int]int64     // when it was killed here, by leader; also of what has ended
	deadline int64             // of what holds a key; 0 = none
	clock    *exec.Stopwatch   // of this process
	ends     chan ended        // of leaders
}

// charge is a command that the guard looks after.
type charge struct {
	process *process
	keyed   bool
	ended   int64         // 0 = it runs
	paused  time.Duration // of the guard, when the command began
}

// start is a command that the worker is starting.
type start struct {
	keyed  bool
	killed int64 // when processes of it were killed here; 0 = none was
}

type ended struct {
	charge *charge
	at     int64
}

// guardMain reads what the worker tells until the pipe ends, because the
// worker has. Then it kills everything that the worker has left.
func guardMain() {
	_ = os.WriteFile("/proc/self/comm", []byte(guardName), 0) // for lists of processes, where there is such a file
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	lines := make(chan string)
	go func() {
		defer close(lines)
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			lines <- in.Text()
		}
	}()
	s := &sentry{charges: map[int]*charge{}, starting: map[string]*start{}, killed: map[int]int64{}, clock: exec.NewStopwatch(time.Now()), ends: make(chan ended)}
	tick := time.NewTicker(exec.ClockInterval)
	defer tick.Stop()
	for {
		due := time.NewTimer(s.due())
		select {
		case line, ok := <-lines:
			s.look()
			if !ok {
				s.kill(func(*charge) bool { return true })
				s.killStarting()
				return
			}
			s.hear(strings.Fields(line))
		case e := <-s.ends:
			e.charge.ended = e.at
		case <-tick.C:
			s.look()
		case <-due.C:
		}
		due.Stop()
		if s.deadline != 0 && monotonic() >= s.deadline {
			s.kill(func(c *charge) bool { return c.keyed })
			s.killStarted(func(c *start) bool { return c.keyed })
		}
	}
}

// due is how long it is until what holds a key has to be killed.
func (s *sentry) due() time.Duration {
	if s.deadline == 0 {
		return time.Hour
	}
	if d := time.Duration(s.deadline - monotonic()); d > 0 {
		return d
	}
	return exec.ClockInterval // it was killed; what is claimed now must not be missed
}

// look notices a gap in which this process was stopped.
func (s *sentry) look() { s.clock.Ran(time.Now()) }

func (s *sentry) hear(words []string) {
	if len(words) < 2 {
		return
	}
	n, _ := strconv.ParseInt(words[1], 10, 64) // the worker wrote it
	switch {
	case words[0] == "b":
		s.deadline = n
		fmt.Println("b")
	case words[0] == "+" && len(words) >= 3:
		s.begin(int(n), words[2] == "1", strings.Join(words[3:], " "))
	case words[0] == "~" && len(words) >= 3:
		s.starting[strings.Join(words[2:], " ")] = &start{keyed: n == 1}
	case words[0] == "x" && len(words) >= 3:
		delete(s.starting, strings.Join(words[2:], " "))
	case words[0] == "-":
		delete(s.charges, int(n))
	case words[0] == "?" && len(words) == 3:
		pid, _ := strconv.Atoi(words[2])
		s.answer(n, pid)
	}
}

func (s *sentry) begin(pid int, keyed bool, marker string) {
	c := &charge{process: &process{pid: pid, marker: marker}, keyed: keyed, paused: s.clock.Paused()}
	s.charges[pid] = c
	delete(s.killed, pid)
	if x := s.starting[marker]; x != nil && x.killed != 0 {
		s.killed[pid] = x.killed
	}
	delete(s.starting, marker)
	go func() { // ends with the process, or with the guard
		if awaitEnd(pid) == nil {
			s.ends <- ended{c, monotonic()}
		}
	}()
}

func (s *sentry) answer(id int64, pid int) {
	var at int64
	var paused time.Duration
	if c := s.charges[pid]; c != nil {
		select {
		case e := <-s.ends: // it may have been noticed and not been taken yet
			e.charge.ended = e.at
		default:
		}
		at, paused = c.ended, s.clock.Paused()-c.paused
	}
	fmt.Println("!", id, at, int64(paused), s.killed[pid])
}

// kill kills those that which chooses, with all that they have started: the
// groups first, because one signal kills a whole group.
func (s *sentry) kill(which func(*charge) bool) {
	var chosen []*charge
	for pid, c := range s.charges {
		if which(c) && s.killed[pid] == 0 {
			s.killed[pid] = monotonic()
			chosen = append(chosen, c)
		}
	}
	for _, c := range chosen {
		c.process.kill(nil)
	}
	limit := time.Now().Add(sweepLimit)
	for len(chosen) > 0 && time.Now().Before(limit) {
		chosen = slices.DeleteFunc(chosen, func(c *charge) bool {
			others := c.process.others()
			c.process.kill(others)
			return len(others) == 0
		})
		if len(chosen) > 0 {
			<-time.After(time.Millisecond)
		}
	}
}

// killStarted kills the processes of commands that are being started, which
// carry their marks, as far as there are any yet. It reports whether it found some.
func (s *sentry) killStarted(which func(*start) bool) bool {
	found := false
	for marker, x := range s.starting {
		if !which(x) {
			continue
		}
		for _, pid := range withMark(marker) {
			p := &process{pid: pid}
			p.kill([]int{pid})
			x.killed, found = monotonic(), true
		}
	}
	return found
}

// startLimit is how long a process may take to appear that the worker was
// starting when it was killed.
const startLimit = time.Second

// killStarting ends what the worker was starting when it ended.
func (s *sentry) killStarting() {
	all := func(*start) bool { return true }
	limit, last := time.Now().Add(startLimit), time.Now().Add(startLimit+sweepLimit)
	for now := time.Now(); len(s.starting) > 0 && now.Before(limit) && now.Before(last); now = time.Now() {
		if s.killStarted(all) {
			limit = now.Add(startLimit) // a killed process may just have started another one
		}
		<-time.After(5 * time.Millisecond)
	}
}
