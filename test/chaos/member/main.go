// Command member is the command of the modules of a chaos run. It reports to the recorder,
// checks its inputs, runs for the given time, and ends as its module is meant to end.
//
//	member [flags]     in a module of a pipeline with $CHAOS, the recorder's socket
//
// It exits with 97 when no recorder listens, and with 98 when the recorder has seen a newer
// holder of its key.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/modpipe/modpipe/test/chaos/watch"
)

const (
	exitAlone  = 97
	exitFenced = 98
	beat       = 20 * time.Millisecond
	gateLook   = 2 * time.Millisecond
)

// part is the task of a member.
type part struct {
	hold      time.Duration
	once      bool   // only the first attempt stays
	gate      string // it also stays until this file exists
	code      int    // it exits with
	failUntil int    // exits with code up to this attempt, then with 0; 0 = always with code
	output    int    // bytes of the large output
	stubborn  bool
	locks     []watch.Lock
	bigs      map[string]int // need → bytes of its large output
}

func main() {
	p := parse()
	code, err := p.play()
	if err != nil {
		fmt.Fprintln(os.Stderr, "member:", err)
	}
	os.Exit(code)
}

func parse() part {
	p := part{bigs: map[string]int{}}
	flag.DurationVar(&p.hold, "hold", 0, "how long it stays")
	flag.BoolVar(&p.once, "once", false, "stay in the first attempt only")
	flag.StringVar(&p.gate, "gate", "", "also stay until this file is there")
	flag.IntVar(&p.code, "code", 0, "exit code")
	flag.IntVar(&p.failUntil, "fail-until", 0, "the last attempt that exits with code")
	flag.IntVar(&p.output, "output", 0, "bytes of the output named big")
	flag.BoolVar(&p.stubborn, "stubborn", false, "ignore TERM")
	flag.Func("lock", "NAME,CAPACITY,WEIGHT of what it holds", func(s string) error {
		l, err := parseLock(s)
		p.locks = append(p.locks, l)
		return err
	})
	flag.Func("big", "NEED=BYTES of the large output of a need", func(s string) error {
		need, n, _ := strings.Cut(s, "=")
		var err error
		p.bigs[need], err = strconv.Atoi(n)
		return err
	})
	flag.Parse()
	return p
}

func parseLock(s string) (watch.Lock, error) {
	words := strings.Split(s, ",")
	if len(words) != 3 {
		return watch.Lock{}, fmt.Errorf("%q: want NAME,CAPACITY,WEIGHT", s)
	}
	capacity, err := strconv.Atoi(words[1])
	if err != nil {
		return watch.Lock{}, err
	}
	weight, err := strconv.Atoi(words[2])
	return watch.Lock{Name: words[0], Capacity: capacity, Weight: weight}, err
}

// play runs and ends as its task says. It returns the exit code.
func (p part) play() (int, error) {
	if p.stubborn {
		signal.Ignore(syscall.SIGTERM)
	}
	var dialer net.Dialer
	conn, err := dialer.Dial("unix", os.Getenv("CHAOS"))
	if err != nil {
		return exitAlone, err
	}
	c := watch.NewClient(conn)
	hello := p.hello()
	exec, fenced, err := c.Start(hello)
	if err != nil {
		return exitAlone, err
	}
	if p.once && hello.Attempt > 1 {
		p.hold = 0
	}
	end := time.Now().Add(p.hold)
	for n := 0; !fenced && p.stays(end); n++ {
		if fenced, err = c.Beat(); err != nil {
			return exitAlone, err
		}
		fmt.Println("tick", n)
	}
	if fenced {
		return exitFenced, nil
	}
	if err := p.result(exec, hello); err != nil {
		return exitAlone, err
	}
	code := p.code
	if p.failUntil > 0 && hello.Attempt > p.failUntil {
		code = 0
	}
	return code, c.End(code)
}

// stays waits for a beat, or for the rest of the time. It returns false at the end.
func (p part) stays(end time.Time) bool {
	left, wait := time.Until(end), beat
	if p.gate != "" {
		wait = gateLook
		if _, err := os.Stat(p.gate); err != nil {
			left = wait
		}
	}
	if left <= 0 {
		return false
	}
	<-time.After(min(wait, left))
	return true
}

// hello returns the values of its environment.
func (p part) hello() watch.Hello {
	h := watch.Hello{
		Run: os.Getenv("MODPIPE_RUN_ID"), Module: os.Getenv("MODPIPE_MODULE"), Worker: os.Getenv("MODPIPE_WORKER"),
		PID: os.Getpid(), Locks: p.locks, Needs: map[string]watch.Need{},
	}
	h.Attempt, _ = strconv.Atoi(os.Getenv("MODPIPE_ATTEMPT"))
	h.Token, _ = strconv.ParseUint(os.Getenv("MODPIPE_FENCING_TOKEN"), 10, 64)
	text, err := os.ReadFile(os.Getenv("MODPIPE_NEEDS"))
	if err != nil {
		h.Fault = err.Error()
		return h
	}
	var needs map[string]struct {
		Status  string
		Outputs map[string]string
	}
	if err := json.Unmarshal(text, &needs); err != nil {
		h.Fault = err.Error()
		return h
	}
	for name, n := range needs {
		h.Needs[name] = watch.Need{Status: n.Status, By: n.Outputs["by"]}
		if want := p.bigs[name]; n.Status == "succeeded" && n.Outputs["big"] != Big(h.Run, name, want) {
			h.Fault = fmt.Sprintf("the output of %s has %d bytes, want %d of its own", name, len(n.Outputs["big"]), want)
		}
	}
	return h
}

// result writes the outputs.
func (p part) result(exec int, h watch.Hello) error {
	f, err := os.OpenFile(os.Getenv("MODPIPE_OUTPUT"), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "by=%d\nbig=%s\n", exec, Big(h.Run, h.Module, p.output))
	if closing := f.Close(); err == nil {
		err = closing
	}
	return err
}

// Big returns a large output that differs from that of every other module.
func Big(run, module string, bytes int) string {
	if bytes == 0 {
		return ""
	}
	word := run + "/" + module + ";"
	return strings.Repeat(word, bytes/len(word)+1)[:bytes]
}
