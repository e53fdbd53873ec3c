package function

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/modpipe/modpipe/internal/call"
	"github.com/modpipe/modpipe/internal/wire"
)

// callWord is the first argument of a process that this program starts for one
// call. The second one is the directory in which they exchange request and
// response. The parent sends the secrets by the stdin of the process, and holds it
// open: the process ends when its stdin does, however the parent has ended.
const callWord = "modpipe-call-2"

// orphaned is the exit code of a process whose parent has ended.
const orphaned = 3

const (
	requestFile  = "request"
	responseFile = "response"
)

// Isolated returns a program that runs each call in its own process. The
// program that it is part of calls Answer first.
func Isolated(p call.Program) call.Program { return isolated{p} }

type isolated struct{ call.Program }

// Call starts the process, and returns when it has ended.
func (p isolated) Call(ctx context.Context, req call.Request) call.Response {
	res, err := p.inProcess(ctx, req)
	if err != nil {
		return call.Response{Error: fmt.Sprintf("in a process of its own: %v", err)}
	}
	return res
}

func (p isolated) inProcess(ctx context.Context, req call.Request) (res call.Response, err error) {
	dir, err := os.MkdirTemp("", "modpipe-call-")
	if err != nil {
		return res, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // it is temporary
	if err := unpack(ctx, dir, &req); err != nil {
		return res, err
	}
	data, err := wire.Encode(&req)
	if err != nil {
		return res, err
	}
	if err := os.WriteFile(filepath.Join(dir, requestFile), data, 0o600); err != nil {
		return res, err
	}
	ended, err := p.start(ctx, dir, req)
	if err != nil {
		return res, err
	}
	data, err = os.ReadFile(filepath.Join(dir, responseFile))
	if errors.Is(err, os.ErrNotExist) {
		return res, fmt.Errorf("it ended without an answer: %w", ended)
	}
	if err != nil {
		return res, err
	}
	return res, wire.Decode(data, &res)
}

// start runs the process to its end; ended is how it ended.
func (p isolated) start(ctx context.Context, dir string, req call.Request) (ended, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, callWord, dir) //nolint:noctx // it is asked to end first, and killed when it does not
	cmd.WaitDelay = time.Second
	cmd.Stdout, cmd.Stderr = req.Log, req.Log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var sender sync.WaitGroup
	sender.Go(func() { _ = sendSecrets(stdin, req.Secrets) }) // it fails when the process has ended
	defer sender.Wait()
	over := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() { watchCall(ctx, cmd.Process, stdin, req.Abandoned, over) })
	err = cmd.Wait()
	close(over)
	watcher.Wait()
	if err == nil {
		err = errors.New("exit code 0: does the function call os.Exit?")
	}
	return err, nil
}

// watchCall asks the process to end when ctx does, and kills it when the call
// is abandoned.
func watchCall(ctx context.Context, process *os.Process, stdin io.Closer, abandoned, over <-chan struct{}) {
	defer stdin.Close() //nolint:errcheck // the process has ended
	done := ctx.Done()
	for {
		select {
		case <-done:
			done = nil
			_ = process.Signal(syscall.SIGTERM) // on systems without the signal it is killed later
		case <-abandoned:
			_ = process.Kill() // it may have ended just now
			return
		case <-over:
			return
		}
	}
}

// Answer runs one call when this process was started for one, which its arguments
// tell; asked is false for any other process. build builds the program.
func Answer(args []string, build func() (call.Program, error)) (asked bool, err error) {
	if len(args) != 2 || args[0] != callWord {
		return false, nil
	}
	return true, answer(args[1], build)
}

func answer(dir string, build func() (call.Program, error)) error {
	data, err := os.ReadFile(filepath.Join(dir, requestFile))
	if err != nil {
		return err
	}
	var req call.Request
	if err := wire.Decode(data, &req); err != nil {
		return err
	}
	req.Log, req.Files = os.Stdout, unpacked(req.Opens)
	if req.Secrets, err = receiveSecrets(os.Stdin); err != nil {
		return err
	}
	for name, value := range req.Env {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	program, err := build()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM) //nolint:forbidigo // it is a main
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(orphaned)
	}()
	res := without(req.Secrets, program.Call(ctx, req))
	data, err = wire.Encode(&res)
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, responseFile+".tmp")
	if err := os.WriteFile(tmp, bytes.Clone(data), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, responseFile))
}
