package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// sample has the figures of a moment at which every run has ended.
type sample struct {
	Second int `json:"second"` // since the beginning
	Runs   int `json:"runs"`   // since the beginning
	Taken  int `json:"taken"`  // runs that the orchestrator in this process began to decide for

	// After a collection; of this process, or of the server's.
	Heap       uint64 `json:"heap_bytes,omitempty"`
	Objects    uint64 `json:"heap_objects,omitempty"`
	Goroutines int    `json:"goroutines,omitempty"`

	Processes map[string]usage `json:"processes"`

	Stored    uint64 `json:"stored_bytes"` // in all streams
	Messages  uint64 `json:"messages"`
	Consumers int    `json:"consumers"`
}

// usage has the system's figures of a process.
type usage struct {
	Resident uint64 `json:"resident_bytes"`
	Threads  int    `json:"threads"`
	Files    int    `json:"open_files"`
}

func (s *sample) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%5d s %6d runs", s.Second, s.Runs)
	if s.Heap > 0 {
		fmt.Fprintf(&text, "  heap %.1f MiB in %d objects, %d goroutines", mebi(s.Heap), s.Objects, s.Goroutines)
	}
	for name, u := range s.Processes {
		fmt.Fprintf(&text, "  %s %.1f MiB, %d threads, %d files", name, mebi(u.Resident), u.Threads, u.Files)
	}
	fmt.Fprintf(&text, "  stored %.1f MiB in %d messages, %d consumers", mebi(s.Stored), s.Messages, s.Consumers)
	return text.String()
}

func mebi(n uint64) float64 { return float64(n) / (1 << 20) }

func (s *site) sample(ctx context.Context) (*sample, error) {
	out := &sample{Processes: map[string]usage{}, Taken: int(s.taken.Load())}
	answer, err := s.client.APIOnce(ctx, "STREAM.LIST", nil)
	if err != nil {
		return nil, err
	}
	var list struct {
		Streams []jetstream.StreamInfo `json:"streams"`
	}
	if err := json.Unmarshal(answer.Data, &list); err != nil {
		return nil, err
	}
	for i := range list.Streams {
		state := &list.Streams[i].State
		out.Stored += state.Bytes
		out.Messages += state.Msgs
		out.Consumers += state.Consumers
	}
	for _, p := range s.processes {
		if out.Processes[p.name], err = usageOf(p.cmd.Process.Pid); err != nil {
			return nil, fmt.Errorf("%s is gone: %w", p.name, err)
		}
	}
	if len(s.processes) > 0 {
		return out, s.serverHeap(ctx, out)
	}
	for range 3 { // the next collection frees objects that this one finalises
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	out.Heap, out.Objects, out.Goroutines = m.HeapAlloc, m.HeapObjects, runtime.NumGoroutine()
	out.Processes["all"], err = usageOf(os.Getpid())
	return out, err
}

// serverHeap reads the server's profiles, which begin with the figures.
func (s *site) serverHeap(ctx context.Context, to *sample) error {
	heap, err := s.profile(ctx, "heap?gc=1&debug=1")
	if err != nil {
		return err
	}
	goroutines, err := s.profile(ctx, "goroutine?debug=1")
	if err != nil {
		return err
	}
	for name, at := range map[string]*uint64{"HeapAlloc": &to.Heap, "HeapObjects": &to.Objects} {
		_, rest, _ := strings.Cut(heap, "# "+name+" = ")
		text, _, _ := strings.Cut(rest, "\n")
		if *at, err = strconv.ParseUint(text, 10, 64); err != nil {
			return fmt.Errorf("%s of the server: %w", name, err)
		}
	}
	if _, err := fmt.Sscanf(goroutines, "goroutine profile: total %d", &to.Goroutines); err != nil {
		return fmt.Errorf("goroutines of the server: %w", err)
	}
	return nil
}

func (s *site) profile(ctx context.Context, name string) (text string, err error) {
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, s.profiles+"/debug/pprof/"+name, nil)
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, answer.Body.Close()) }()
	all, err := io.ReadAll(answer.Body)
	return string(all), err
}

// usageOf reads /proc.
func usageOf(pid int) (usage, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return usage{}, err
	}
	field := func(name string) int {
		_, rest, _ := strings.Cut(string(status), "\n"+name+":")
		text, _, _ := strings.Cut(strings.TrimSpace(rest), "\n")
		n, _ := strconv.Atoi(strings.TrimSuffix(text, " kB"))
		return n
	}
	files, err := os.ReadDir(filepath.Join(dir, "fd"))
	return usage{Resident: uint64(field("VmRSS")) << 10, Threads: field("Threads"), Files: len(files)}, err //nolint:gosec // a size
}
