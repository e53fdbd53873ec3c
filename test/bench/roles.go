package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/modpipe/modpipe/cli"
)

// figures are the measurements that one process prints.
type figures struct {
	Seconds    float64 `json:"seconds"`
	CPUSeconds float64 `json:"cpu_seconds"` // of all processes
	PeakMB     float64 `json:"peak_mb"`     // of the largest
}

// slotsEach is how many slots each of two workers has; one process has both.
const slotsEach = 128

// roles are the parts that this program plays when it starts itself.
func roles() map[string]func([]string) error {
	return map[string]func([]string) error{
		"engine":        engine,
		"floor":         floor,
		"server":        serve,
		"program":       program,
		"view":          view,
		"schedule":      schedules,
		"locality":      locality,
		"link":          links,
		"floor-worker":  floorWorkerProcess,
		"files":         filesBench,
		"files-push":    filesPush,
		"files-fetch":   filesFetch,
		"files-raw":     filesRaw,
		"files-layout":  filesLayout,
		"files-machine": filesMachine,
		"files-hits":    filesHits,
		"unsigned":      unsigned,
		"keys":          keys,
	}
}

// program is a user's program of a work: `program WORK run …`.
func program(args []string) error {
	w, err := workNamed(args[0])
	if err != nil {
		return err
	}
	p := cli.System()
	p.Args = args[1:]
	stop, err := profile("")
	if err != nil {
		return err
	}
	code := cli.Program(context.Background(), "bench-"+w.name, w.define, p)
	stop()
	os.Exit(code)
	return nil
}

// engine measures a work: `engine WORK MODE`.
func engine(args []string) error {
	ctx := context.Background()
	w, err := workNamed(args[0])
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // of the temporary directory
	o := cli.Options{Store: dir + "/store", Workspace: dir, MaxParallel: 2 * slotsEach}
	var others family
	defer others.kill()
	if args[1] == processes {
		if o.Server, err = others.server(dir); err != nil {
			return err
		}
		o.Store = ""
		for i := range 2 {
			err := others.start("program", w.name, "worker", "--server", o.Server, "--name", "w"+strconv.Itoa(i), "--workspace", dir, "--max-parallel", strconv.Itoa(slotsEach))
			if err != nil {
				return err
			}
		}
		first := o // of one module: it waits for the workers
		first.Only = []string{"m0_0"}
		if _, err := runOnce(ctx, w, first); err != nil {
			return err
		}
	}
	stop, err := profile("")
	if err != nil {
		return err
	}
	before := others.cpu()
	took, err := runOnce(ctx, w, o)
	if err != nil {
		return err
	}
	stop()
	return report(others, before, took)
}

// profile writes profiles of the run that is measured to the files that
// BENCH_CPUPROFILE and BENCH_HEAPPROFILE name: the time that it takes, and
// the heap as it was when it was largest. A measurement of several processes
// adds an ending of its own to the names.
func profile(ending string) (stop func(), err error) {
	name := func(variable string) string {
		if name := os.Getenv(variable); name != "" {
			return name + ending
		}
		return ""
	}
	heap := profileHeap(name("BENCH_HEAPPROFILE"))
	file := name("BENCH_CPUPROFILE")
	if file == "" {
		return heap, nil
	}
	f, err := os.Create(file) //nolint:gosec // named on the command line
	if err != nil {
		return nil, err
	}
	return func() { pprof.StopCPUProfile(); heap() }, pprof.StartCPUProfile(f)
}

// heapStep is how much larger the heap has to be than when it was looked at
// last, in percent, to be looked at again: that takes a collection each time.
const heapStep = 3

// profileHeap follows the heap until stop, which writes the largest.
func profileHeap(name string) (stop func()) {
	if name == "" {
		return func() {}
	}
	done, over := make(chan struct{}), make(chan struct{})
	var largest bytes.Buffer
	go func() {
		defer close(over)
		most := uint64(0)
		for {
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
			}
			var m runtime.MemStats
			if runtime.ReadMemStats(&m); m.HeapInuse*100 <= most*(100+heapStep) {
				continue
			}
			most = m.HeapInuse
			largest.Reset()
			runtime.GC()                         // what a profile says of memory in use is as of the last one
			_ = pprof.WriteHeapProfile(&largest) // a buffer takes everything
		}
	}()
	return func() {
		close(done)
		<-over
		if err := os.WriteFile(name, largest.Bytes(), 0o600); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}
}

// runOnce returns how long the run took, from the first record of its log to
// the last: making the graph and starting a server is no part of it, as it is
// none of the floor's. The CPU time is of all.
func runOnce(ctx context.Context, w work, o cli.Options) (time.Duration, error) {
	r, err := cli.Run(ctx, "bench-"+w.name, w.define, o)
	if err != nil {
		return 0, err
	}
	if r.Status != "succeeded" || len(r.Modules) != w.modules {
		return 0, fmt.Errorf("the run ended %s with %d modules: %s", r.Status, len(r.Modules), r.Error)
	}
	return time.Duration(r.Duration * float64(time.Second)), nil
}

// floor measures the floor of a work: `floor WORK MODE`.
func floor(args []string) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	w, err := workNamed(args[0])
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // of the temporary directory
	var others family
	defer others.kill()
	connect := func() (*nats.Conn, error) { return nil, errors.New("no server") }
	if args[1] == processes {
		url, err := others.server(dir)
		if err != nil {
			return err
		}
		connect = func() (*nats.Conn, error) { return nats.Connect(url) }
		for range 2 {
			if err := others.start("floor-worker", url); err != nil {
				return err
			}
		}
	} else {
		s, err := embedded(dir)
		if err != nil {
			return err
		}
		connect = func() (*nats.Conn, error) { return nats.Connect("", nats.InProcessServer(s)) }
		go func() { _ = floorWorkOn(ctx, connect, floorFlight) }() // ends with the process
	}
	nc, err := connect()
	if err != nil {
		return err
	}
	before, started := others.cpu(), time.Now()
	if err := floorOrchestrate(ctx, nc, w.modules, w.flight); err != nil {
		return err
	}
	return report(others, before, time.Since(started))
}

func floorWorkerProcess(args []string) error {
	return floorWorkOn(context.Background(), func() (*nats.Conn, error) { return nats.Connect(args[0]) }, floorFlight/2)
}

// floorWorkOn works as soon as the streams are there.
func floorWorkOn(ctx context.Context, connect func() (*nats.Conn, error), batch int) error {
	nc, err := connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := nc.JetStream()
	if err != nil {
		return err
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if _, err := js.ConsumerInfo(floorJobs, floorWorker); err == nil {
			break
		}
	}
	return floorWork(ctx, nc, batch)
}

func embedded(dir string) (*server.Server, error) {
	s, err := server.NewServer(&server.Options{JetStream: true, StoreDir: dir + "/nats", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true})
	if err != nil {
		return nil, err
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return nil, errors.New("the server does not start")
	}
	return s, nil
}

// serve is a server in its own process: it prints its URL.
func serve(args []string) error {
	s, err := embedded(args[0])
	if err != nil {
		return err
	}
	fmt.Println(s.ClientURL())
	s.WaitForShutdown()
	return nil
}

// family is the processes that a measurement has started beside its own.
type family struct{ members []*exec.Cmd }

func (f *family) start(args ...string) error {
	_, err := f.spawn(args...)
	return err
}

func (f *family) spawn(args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.Background(), self, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if args[0] != "server" {
		if err := cmd.Start(); err != nil {
			return nil, err
		}
	}
	f.members = append(f.members, cmd)
	return cmd, nil
}

// server starts a server and returns its URL.
func (f *family) server(dir string) (string, error) {
	cmd, err := f.spawn("server", dir)
	if err != nil {
		return "", err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	var url string
	_, err = fmt.Fscanln(out, &url)
	return url, err
}

func (f *family) kill() {
	for _, m := range f.members {
		if m.Process != nil {
			_ = m.Process.Kill()
			_ = m.Wait() // killed
		}
	}
}

// cpu is the CPU time that this process and the family have used.
func (f *family) cpu() float64 {
	total := cpuOf("self")
	for _, m := range f.members {
		total += cpuOf(strconv.Itoa(m.Process.Pid))
	}
	return total
}

// clockTicks is the unit of /proc's times on Linux.
const clockTicks = 100

func cpuOf(pid string) float64 {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / clockTicks
}

// peak is the largest high-water mark of memory, in MB.
func (f *family) peak() float64 {
	most := peakOf("self")
	for _, m := range f.members {
		most = max(most, peakOf(strconv.Itoa(m.Process.Pid)))
	}
	return most
}

func peakOf(pid string) float64 { return memoryOf(pid, "VmHWM:") }

// residentOf is the memory that a process uses now, in MB.
func residentOf(pid string) float64 { return memoryOf(pid, "VmRSS:") }

func memoryOf(pid, what string) float64 {
	text, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if after, ok := strings.CutPrefix(line, what); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(after)[0], 64)
			return kb / 1024
		}
	}
	return 0
}

func report(f family, before float64, took time.Duration) error {
	return json.NewEncoder(os.Stdout).Encode(figures{
		Seconds: took.Seconds(), CPUSeconds: f.cpu() - before, PeakMB: f.peak(),
	})
}
