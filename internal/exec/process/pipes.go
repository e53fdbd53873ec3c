package process

import (
	"os"
	osexec "os/exec"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modpipe/modpipe/internal/exec"
	"github.com/modpipe/modpipe/jobs"
)

const (
	// pipeLinger is how long a read may wait when all processes are gone: the end of
	// the stream has arrived by then, unless an escaped process holds the pipe.
	pipeLinger = 500 * time.Millisecond
	// pipeRest is the most that a pipe may contain when its writers are gone.
	pipeRest = 1 << 20
	readSize = 32 << 10
)

// pipes carry standard output and standard error. They are not those of os/exec, so
// that a command can end although other processes hold them.
type pipes struct {
	streams [2]*pipe
	closed  chan struct{} // closed when both streams have ended
	open    atomic.Int32
}

type pipe struct {
	stream jobs.Stream
	r, w   *os.File
	gone   atomic.Int64 // when the writers were gone, in Unix nanoseconds; 0 = not yet
	held   atomic.Bool  // a process still held it at the end
	last   atomic.Int64 // the time of the last read, in Unix nanoseconds
	busy   atomic.Bool  // the sink has not accepted the last piece yet: the writers may wait
	middle atomic.Bool  // the last piece does not end a line
}

func newPipes(cmd *osexec.Cmd) (*pipes, error) {
	p := &pipes{closed: make(chan struct{})}
	for i, stream := range []jobs.Stream{jobs.Stdout, jobs.Stderr} {
		r, w, err := os.Pipe()
		if err != nil {
			p.abandon()
			return nil, err
		}
		p.streams[i] = &pipe{stream: stream, r: r, w: w}
	}
	cmd.Stdout, cmd.Stderr = p.streams[0].w, p.streams[1].w
	return p, nil
}

// abandon closes all pipes of a command that was not started.
func (p *pipes) abandon() {
	for _, s := range p.streams {
		if s != nil {
			_ = s.r.Close()
			_ = s.w.Close()
		}
	}
}

// read passes the output to out, on goroutines of wg, until both streams have ended.
// The command has copies of the writing ends by now.
func (p *pipes) read(wg *sync.WaitGroup, out exec.Sink) {
	p.open.Store(int32(len(p.streams)))
	for _, s := range p.streams {
		_ = s.w.Close()
		s.last.Store(time.Now().UnixNano()) // here, because the command may end before the reader runs
		wg.Go(func() {
			s.copy(out)
			if p.open.Add(-1) == 0 {
				close(p.closed)
			}
		})
	}
}

// written is when the command has last written; now, while the sink has not accepted
// the last piece.
func (p *pipes) written(now time.Time) time.Time {
	var last int64
	for _, s := range p.streams {
		if s.busy.Load() {
			return now
		}
		last = max(last, s.last.Load())
	}
	return time.Unix(0, last)
}

// newline ends the last line of a stream, if the writer has not.
func (p *pipes) newline(stream jobs.Stream) string {
	for _, s := range p.streams {
		if s.stream == stream && s.middle.Load() {
			return "\n"
		}
	}
	return ""
}

// finish makes the readers return soon, because the processes are gone.
func (p *pipes) finish() {
	now := time.Now()
	for _, s := range p.streams {
		s.gone.Store(now.UnixNano())
		_ = s.r.SetReadDeadline(now) // wakes a reader that waits
	}
}

func (p *pipes) abandoned() bool { return p.streams[0].held.Load() || p.streams[1].held.Load() }

// copy reads until the end of the stream. When the writers are gone it reads the rest,
// and waits for the end no longer than pipeLinger. An escaped process that still holds
// the pipe, and goes on writing, does not delay it further.
func (s *pipe) copy(out exec.Sink) {
	defer func() { _ = s.r.Close() }()
	buf := make([]byte, readSize)
	for s.gone.Load() == 0 {
		n, err := s.r.Read(buf)
		s.take(out, buf[:n])
		if err != nil && (!os.IsTimeout(err) || s.gone.Load() == 0) {
			return
		}
	}
	for rest := pipeRest; rest > 0; {
		n, err := s.ready(buf)
		s.take(out, buf[:n])
		rest -= n
		if err != nil {
			s.held.Store(os.IsTimeout(err))
			return
		}
	}
	s.held.Store(true)
}

// ready reads the content of the pipe, or else the first data before pipeLinger is
// over. Its error is a time-out when no data arrives.
func (s *pipe) ready(buf []byte) (int, error) {
	_ = s.r.SetReadDeadline(time.Time{}) // available data counts, however late it is
	if n, err, waits := readNow(s.r, buf); !waits {
		return n, err
	}
	_ = s.r.SetReadDeadline(time.Unix(0, s.gone.Load()).Add(pipeLinger))
	return s.r.Read(buf)
}

func (s *pipe) take(out exec.Sink, data []byte) {
	if len(data) == 0 {
		return
	}
	s.middle.Store(data[len(data)-1] != '\n')
	s.busy.Store(true)
	out.Write(s.stream, data)
	s.last.Store(time.Now().UnixNano())
	s.busy.Store(false)
}
