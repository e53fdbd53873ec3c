//go:build linux

package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modpipe/modpipe/internal/attempt"
	"github.com/modpipe/modpipe/internal/exec"
	"github.com/modpipe/modpipe/internal/exec/process"
	"github.com/modpipe/modpipe/internal/workspace"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// stored collects chunks.
type stored struct {
	mu     sync.Mutex
	chunks []jobs.LogChunk
	before func(n int)
}

func (s *stored) store(_ context.Context, c jobs.LogChunk) error {
	if s.before != nil {
		s.before(c.Number)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chunks = append(s.chunks, c)
	return nil
}

// at stores chunks one after the other.
func at(store func(context.Context, jobs.LogChunk) error) sendChunk {
	return func(ctx context.Context, c jobs.LogChunk) (func(context.Context) error, error) {
		return func(context.Context) error { return nil }, store(ctx, c)
	}
}

func (s *stored) text(stream jobs.Stream) []byte {
	var b []byte
	for _, c := range s.chunks {
		for _, p := range c.Parts {
			if p.Stream == stream {
				b = append(b, p.Data...)
			}
		}
	}
	return b
}

// logged runs a script with a log.
func logged(t *testing.T, text string, s *stored) (exec.Result, int) {
	t.Helper()
	l := newAttemptLog(at(s.store))
	var wg sync.WaitGroup
	var n int
	var err error
	wg.Go(func() { n, err = l.run(t.Context()) })
	commands := process.New(process.Config{Workspace: workspace.New(t.TempDir()), Logger: slog.New(slog.DiscardHandler)})
	task := &exec.Task{Job: &jobs.Job{Command: &jobs.CommandJob{Run: text, Shell: "sh"}}, Stops: stops{attempt.NewStops()}}
	e := exec.Run(t.Context(), commands, task, l)
	l.close()
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return e, n
}

func TestLogIsCompleteAndInOrder(t *testing.T) {
	s := &stored{}
	_, n := logged(t, `i=0; while [ $i -lt 5000 ]; do i=$((i+1)); echo "line $i"; done; echo last >&2`, s)
	var want strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&want, "line %d\n", i+1)
	}
	if string(s.text(jobs.Stdout)) != want.String() || string(s.text(jobs.Stderr)) != "last\n" {
		t.Error("lines are missing or out of order")
	}
	for i, c := range s.chunks {
		if c.Number != i+1 || len(c.Parts) == 0 {
			t.Errorf("chunk %d has number %d and %d parts", i, c.Number, len(c.Parts))
		}
	}
	if n != len(s.chunks) {
		t.Errorf("says %d chunks of %d", n, len(s.chunks))
	}
}

func TestLogPassesAnyBytes(t *testing.T) {
	s := &stored{}
	if _, n := logged(t, "true", s); n != 0 {
		t.Errorf("%d chunks of nothing", n)
	}
	e, _ := logged(t, `head -c 1000000 /dev/zero | tr '\0' x; printf '\377\000\376'`, s)
	want := append(bytes.Repeat([]byte("x"), 1000000), 0xff, 0, 0xfe)
	if e.Status != report.AttemptSucceeded || !bytes.Equal(s.text(jobs.Stdout), want) {
		t.Errorf("%s, %d bytes", e.Error, len(s.text(jobs.Stdout)))
	}
	for _, c := range s.chunks {
		size := 0
		for _, p := range c.Parts {
			size += len(p.Data)
		}
		if size > 64<<10 {
			t.Errorf("a chunk of %d bytes", size)
		}
	}
}

// While nothing can be stored the command is held up, and then loses nothing.
func TestLogBackPressure(t *testing.T) {
	release, progress := make(chan struct{}), t.TempDir()+"/progress"
	s := &stored{before: func(n int) {
		if n == 2 {
			<-release
		}
	}}
	go func() {
		defer close(release)
		var last int64
		for same := 0; same < 20; { // until the writer stands still
			<-time.After(10 * time.Millisecond)
			info, err := os.Stat(progress)
			if err == nil && info.Size() == last && last > 0 {
				same++
			} else if err == nil {
				last, same = info.Size(), 0
			}
		}
		if last > 60 {
			t.Errorf("%d KiB were taken while nothing could be stored", last*8)
		}
	}()
	_, _ = logged(t, `i=0; while [ $i -lt 200 ]; do i=$((i+1)); head -c 8192 /dev/zero; printf . >>`+progress+`; done`, s)
	if got := len(s.text(jobs.Stdout)); got != 200*8192 {
		t.Errorf("%d bytes", got)
	}
}

func TestLogBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stored{}
		l := newAttemptLog(at(s.store))
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = l.run(t.Context()) })
		l.Write(jobs.Stdout, []byte("a"))
		l.Write(jobs.Stdout, []byte("b"))
		l.Write(jobs.Stderr, []byte("c"))
		<-time.After(chunkDelay + time.Millisecond)
		l.Write(jobs.Stdout, []byte("d"))
		l.close()
		wg.Wait()
		if len(s.chunks) != 2 || len(s.chunks[0].Parts) != 2 || string(s.chunks[0].Parts[0].Data) != "ab" {
			t.Errorf("chunks %v", s.chunks)
		}
	})
}

func TestLogLetsGo(t *testing.T) {
	gone := errors.New("gone")
	l := newAttemptLog(at(func(context.Context, jobs.LogChunk) error { return gone }))
	var wg sync.WaitGroup
	var err error
	wg.Go(func() { _, err = l.run(t.Context()) })
	for range 100 {
		l.Write(jobs.Stdout, make([]byte, chunkSize))
	}
	l.close()
	wg.Wait()
	if !errors.Is(err, gone) {
		t.Error(err)
	}
}
