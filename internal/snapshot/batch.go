package snapshot

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
)

// maxIdle is how many processes of git wait for the next file of a repository.
const maxIdle = 4

// batches reads objects of one repository. Each of its processes reads one object
// at a time, so there are as many as readers that are open.
type batches struct {
	start func() (*batch, error)

	mu     sync.Mutex
	idle   []*batch
	closed bool
}

// newBatches returns the reader of a repository. Its processes live
// until close, also after ctx has ended.
func newBatches(ctx context.Context, in at) *batches {
	ctx = context.WithoutCancel(ctx)
	return &batches{start: func() (*batch, error) { return startBatch(ctx, in) }}
}

func (b *batches) take() (*batch, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, os.ErrClosed
	}
	if n := len(b.idle); n > 0 {
		free := b.idle[n-1]
		b.idle = b.idle[:n-1]
		return free, nil
	}
	return b.start()
}

// give returns a batch that has no open object.
func (b *batches) give(free *batch) error {
	b.mu.Lock()
	keep := !b.closed && len(b.idle) < maxIdle
	if keep {
		b.idle = append(b.idle, free)
	}
	b.mu.Unlock()
	if keep {
		return nil
	}
	return free.end()
}

func (b *batches) close() error {
	b.mu.Lock()
	idle := b.idle
	b.idle, b.closed = nil, true
	b.mu.Unlock()
	var errs []error
	for _, free := range idle {
		errs = append(errs, free.end())
	}
	return errors.Join(errs...)
}

// open returns the content of a blob.
func (b *batches) open(oid string) (io.ReadCloser, error) {
	p, err := b.take()
	if err != nil {
		return nil, err
	}
	err = p.ask(oid)
	var size int64
	if err == nil {
		size, err = p.header(oid)
	}
	if err != nil {
		return nil, errors.Join(err, p.end())
	}
	return &blob{b: b, p: p, LimitedReader: io.LimitedReader{R: p.out, N: size}}, nil
}

// blob is the content of an object that is being read.
type blob struct {
	io.LimitedReader
	b    *batches
	p    *batch
	once sync.Once
}

func (o *blob) Read(p []byte) (int, error) {
	n, err := o.LimitedReader.Read(p)
	if errors.Is(err, io.EOF) && o.N > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (o *blob) Close() (err error) {
	o.once.Do(func() {
		if o.N > 0 || o.p.newline() != nil {
			err = o.p.end()
			return
		}
		err = o.b.give(o.p)
	})
	return err
}

// all calls each with the content of every entry, in their order, by one process.
func (b *batches) all(ctx context.Context, entries []object, each func(object, io.Reader) error) error {
	p, err := b.take()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, p.kill) // ends the reads below
	defer stop()
	asked := make(chan error, 1) // the one answer of the goroutine below
	go func() {
		for _, e := range entries {
			if err := p.ask(e.oid); err != nil {
				asked <- err
				return
			}
		}
		asked <- nil
	}()
	err = p.each(entries, each)
	if err != nil {
		p.kill() // which ends the goroutine
	}
	aerr := <-asked
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case err == nil:
		err = aerr
	}
	if err != nil {
		return errors.Join(err, p.end())
	}
	if !stop() {
		return errors.Join(context.Cause(ctx), p.end())
	}
	return b.give(p)
}

// batch is one `git cat-file --batch`.
type batch struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	dir    string
	stderr *tail
	kill   func()
}

func startBatch(ctx context.Context, in at) (*batch, error) {
	ctx, cancel := context.WithCancel(ctx)
	cmd := command(ctx, in.dir, in.args("cat-file", "--batch")...)
	b := &batch{cmd: cmd, dir: in.dir, stderr: &tail{}, kill: cancel}
	cmd.Stderr = b.stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	b.in, b.out = stdin, bufio.NewReaderSize(out, 64<<10)
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, explain(in.dir, []string{"cat-file"}, err, "")
	}
	return b, nil
}

func (b *batch) ask(oid string) error {
	if _, err := io.WriteString(b.in, oid+"\n"); err != nil {
		return fmt.Errorf("ask git in %s for an object: %w", b.dir, err)
	}
	return nil
}

// header reads "<object> blob <size>".
func (b *batch) header(oid string) (int64, error) {
	line, err := b.out.ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("git cat-file in %s ended: %w", b.dir, err)
	}
	fields := strings.Fields(line)
	if len(fields) != 3 || fields[0] != oid || fields[1] != "blob" {
		return 0, fmt.Errorf("git in %s does not have the object %s (%.80s): the repository is incomplete; run `git fsck`", b.dir, oid, strings.TrimSpace(line))
	}
	return strconv.ParseInt(fields[2], 10, 64)
}

func (b *batch) newline() error {
	_, err := b.out.Discard(1)
	return err
}

func (b *batch) each(entries []object, each func(object, io.Reader) error) error {
	for _, e := range entries {
		size, err := b.header(e.oid)
		if err != nil {
			return err
		}
		content := &io.LimitedReader{R: b.out, N: size}
		if err := each(e, content); err != nil {
			return err
		}
		if content.N > 0 {
			return fmt.Errorf("git cat-file in %s ended within %s", b.dir, e.path)
		}
		if err := b.newline(); err != nil {
			return err
		}
	}
	return nil
}

// end ends the process, which has nothing to save.
func (b *batch) end() error {
	b.kill()
	_ = b.in.Close()
	_ = b.cmd.Wait() // it was killed
	return nil
}
