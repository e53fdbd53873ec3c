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
	"github.com/modpipe/modpipe/internal/protect"
)

// guardName is the name of this program when it runs as a guard.
const guardName = "modpipe-guard"

// A guard has to run in any program that has a worker, including tests, before that
// program does anything else.
func init() { //nolint:gochecknoinits // see above
	if len(os.Args) == 1 && os.Args[0] == guardName {
		guardMain()
		os.Exit(0)
	}
}

// ownFile is the file of this program, even when another file has its path now.
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

// guardEnvironment keeps the guard small, because it lives as long as the worker.
func guardEnvironment() []string { return []string{"GOMAXPROCS=1", "GOGC=off", "GOMEMLIMIT=32MiB"} }

// sentry is the state of the process of a guard. One goroutine owns it.
type sentry struct {
	charges  map[int]*charge   // by leader
	starting map[string]*start // by marker: commands whose process is not known yet
	killed   map[int]int64     // when this process killed a command, by leader; also of ended ones
	deadline int64             // for commands that hold a key; 0 = none
	clock    *exec.Stopwatch   // of this process
	ends     chan ended        // of leaders
}

// charge is a command that the guard watches.
type charge struct {
	process *process
	keyed   bool
	ended   int64         // 0 = it runs
	paused  time.Duration // of the guard, when the command began
}

// start is a command that the worker is starting.
type start struct {
	keyed  bool
	killed int64 // when this process killed a process of it; 0 = it did not
}

type ended struct {
	charge *charge
	at     int64
}

// guardMain reads the messages of the worker until the pipe ends, because the worker
// has ended. Then it kills all commands that are left.
func guardMain() {
	_ = os.WriteFile("/proc/self/comm", []byte(guardName), 0) // the name in lists of processes, on systems with such a file
	protect.Memory()
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
			s.readClock()
			if !ok {
				s.kill(func(*charge) bool { return true })
				s.killStarting()
				s.removeSecrets()
				return
			}
			s.receive(strings.Fields(line))
		case e := <-s.ends:
			e.charge.ended = e.at
		case <-tick.C:
			s.readClock()
		case <-due.C:
		}
		due.Stop()
		if s.deadline != 0 && monotonic() >= s.deadline {
			s.kill(func(c *charge) bool { return c.keyed })
			s.killStarted(func(c *start) bool { return c.keyed })
		}
	}
}

// due is the time until the commands that hold a key have to be killed.
func (s *sentry) due() time.Duration {
	if s.deadline == 0 {
		return time.Hour
	}
	if d := time.Duration(s.deadline - monotonic()); d > 0 {
		return d
	}
	return exec.ClockInterval // they were killed; a command that is announced now must not be missed
}

// readClock notices a gap in which this process was suspended.
func (s *sentry) readClock() { s.clock.Ran(time.Now()) }

func (s *sentry) receive(words []string) {
	if len(words) < 2 {
		return
	}
	n, _ := strconv.ParseInt(words[1], 10, 64) // the worker wrote it, so it is a number
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
		case e := <-s.ends: // the end may have been noticed and not been received yet
			e.charge.ended = e.at
		default:
		}
		at, paused = c.ended, s.clock.Paused()-c.paused
	}
	fmt.Println("!", id, at, int64(paused), s.killed[pid])
}

// kill kills the commands that which selects, with everything that they have started.
// It kills the groups first, because one signal kills a whole group.
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

// killStarted kills the processes of commands that are being started. They carry the
// marks of these commands. It reports whether it found any.
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

// removeSecrets removes the files of secrets of the commands that the worker had when
// it ended.
func (s *sentry) removeSecrets() {
	for _, c := range s.charges {
		_ = os.RemoveAll(secretsOf(c.process.marker)) // nothing is left that could hear of an error
	}
	for marker := range s.starting {
		_ = os.RemoveAll(secretsOf(marker))
	}
}

// startLimit is how long the process of a command may take to appear that the worker
// was starting when it was killed.
const startLimit = time.Second

// killStarting kills the commands that the worker was starting when it ended.
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
