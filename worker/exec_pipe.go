package worker

import (
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"time"

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
// exec's, so that the end of a command does not depend on who else holds them.
type pipes struct {
	streams [2]*pipe
}

type pipe struct {
	stream jobs.Stream
	r, w   *os.File
	gone   atomic.Bool // the writers are: what is left is read with a limit
	held   atomic.Bool // somebody still held it at the end
}

func newPipes(cmd *exec.Cmd) (*pipes, error) {
	p := &pipes{}
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
func (p *pipes) read(wg *sync.WaitGroup, out sink) {
	for _, s := range p.streams {
		_ = s.w.Close()
		wg.Go(func() { s.copy(out) })
	}
}

// finish makes the readers return soon: the processes are gone.
func (p *pipes) finish() {
	for _, s := range p.streams {
		s.gone.Store(true)
		_ = s.r.SetReadDeadline(time.Now().Add(pipeLinger)) // wakes one that waits
	}
}

func (p *pipes) abandoned() bool { return p.streams[0].held.Load() || p.streams[1].held.Load() }

func (s *pipe) copy(out sink) {
	defer func() { _ = s.r.Close() }()
	buf := make([]byte, readSize)
	rest := pipeRest
	for rest > 0 {
		if s.gone.Load() {
			_ = s.r.SetReadDeadline(time.Now().Add(pipeLinger))
		}
		n, err := s.r.Read(buf)
		if n > 0 {
			out.write(s.stream, slices.Clone(buf[:n]))
		}
		if os.IsTimeout(err) && !s.gone.Load() {
			continue
		}
		if err != nil {
			s.held.Store(os.IsTimeout(err))
			return
		}
		if s.gone.Load() {
			rest -= n
		}
	}
	s.held.Store(true)
}
