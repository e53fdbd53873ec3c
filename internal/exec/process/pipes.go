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
	// pipeLinger is how long a read may wait when all processes are gone: the
	// end of the stream has come by then, unless something has got away that
	// holds the pipe.
	pipeLinger = 500 * time.Millisecond
	// pipeRest is the most that may be in a pipe when its writers are gone.
	pipeRest = 1 << 20
	readSize = 32 << 10
)

// pipes carry standard output and standard error. They are our own, and not
// exec's, so that a command ends although other processes hold them.
type pipes struct {
	streams [2]*pipe
	closed  chan struct{} // closed when both have come to their end
	open    atomic.Int32
}

type pipe struct {
	stream jobs.Stream
	r, w   *os.File
	gone   atomic.Int64 // when the writers had gone, in Unix nanoseconds; 0 = not yet
	held   atomic.Bool  // something still held it at the end
	last   atomic.Int64 // when something was read, in Unix nanoseconds
	busy   atomic.Bool  // what was read is being taken: its writers may wait
	middle atomic.Bool  // what was read last does not end a line
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

// abandon closes everything: nothing was started.
func (p *pipes) abandon() {
	for _, s := range p.streams {
		if s != nil {
			_ = s.r.Close()
			_ = s.w.Close()
		}
	}
}

// read hands what comes to out, on goroutines of wg, until both streams have
// ended. The command has its own copies of the writing ends by now.
func (p *pipes) read(wg *sync.WaitGroup, out exec.Sink) {
	p.open.Store(int32(len(p.streams)))
	for _, s := range p.streams {
		_ = s.w.Close()
		wg.Go(func() {
			s.copy(out)
			if p.open.Add(-1) == 0 {
				close(p.closed)
			}
		})
	}
}

// written is when the command has last written something; now, while what it
// has written is being taken.
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

// newline ends the last line of a stream, where its writer has not.
func (p *pipes) newline(stream jobs.Stream) string {
	for _, s := range p.streams {
		if s.stream == stream && s.middle.Load() {
			return "\n"
		}
	}
	return ""
}

// finish makes the readers return soon: the processes are gone.
func (p *pipes) finish() {
	now := time.Now()
	for _, s := range p.streams {
		s.gone.Store(now.UnixNano())
		_ = s.r.SetReadDeadline(now) // wakes one that waits
	}
}

func (p *pipes) abandoned() bool { return p.streams[0].held.Load() || p.streams[1].held.Load() }

// copy reads until the end of the stream. When the writers are gone it reads
// what they have left, and waits for the end no longer than pipeLinger: what
// still holds the pipe then, and goes on writing, is not waited for.
func (s *pipe) copy(out exec.Sink) {
	defer func() { _ = s.r.Close() }()
	s.last.Store(time.Now().UnixNano())
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

// ready reads what is in the pipe, else what comes before pipeLinger is over.
// Its error is a timeout when nothing comes.
func (s *pipe) ready(buf []byte) (int, error) {
	_ = s.r.SetReadDeadline(time.Time{}) // what is there counts, however late it is
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
