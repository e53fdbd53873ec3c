package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/modpipe/modpipe/broker"
)

// process is a program of the soak.
type process struct {
	name string
	cmd  *exec.Cmd
}

const serverName = "nats-server"

// leaving is the time in which a program must end.
const leaving = 30 * time.Second

// inProcesses builds the programs and starts them.
func (s *site) inProcesses(ctx context.Context, dir string) error {
	for _, pkg := range []string{"./cmd/orchestrator", "./cmd/worker", "github.com/nats-io/nats-server/v2"} {
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", dir+"/", pkg).CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	profiles, err := freePort()
	if err != nil {
		return err
	}
	s.profiles = "http://127.0.0.1:" + profiles
	url := "nats://127.0.0.1:" + port
	for _, p := range [][]string{
		{serverName, "-a", "127.0.0.1", "-p", port, "--profile", profiles, "-js", "-sd", filepath.Join(dir, "nats")},
		{"orchestrator", "serve", "--server", url, "--name", "soak", "--keep-runs", "10m"},
		{"worker", "--server", url, "--name", "one", "--max-parallel", "4", "--workspace", dir, "--files-dir", filepath.Join(dir, "files-one"), "--files-max", "4Mi"},
		{"worker", "--server", url, "--name", "two", "--max-parallel", "4", "--workspace", dir, "--files-dir", filepath.Join(dir, "files-two"), "--files-max", "4Mi"},
	} {
		if err := s.launch(dir, p); err != nil {
			return err
		}
	}
	s.client, err = broker.Connect(ctx, broker.Config{URL: url, Name: "client", ConnectTimeout: leaving})
	if err != nil {
		return err
	}
	s.onClose(func() error { s.client.Close(); return nil })
	return limitBlobs(ctx, url)
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // binding does not wait
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}

// launch starts a program, which leaves when the site is closed.
func (s *site) launch(dir string, args []string) error {
	name := args[0]
	if name == "worker" {
		name += " " + args[4]
	}
	p := &process{name: name, cmd: &exec.Cmd{
		Path: filepath.Join(dir, args[0]), Args: args, Dir: dir, Env: os.Environ(), Stderr: os.Stderr,
		SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	}}
	if args[0] == serverName {
		p.cmd.Stderr = nil
	}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	s.processes = append(s.processes, p)
	s.onClose(func() error {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // Wait reports a process that has already ended
		kill := time.AfterFunc(leaving, func() { _ = p.cmd.Process.Kill() })
		defer kill.Stop()
		_ = p.cmd.Wait() // the exit code does not matter
		return nil
	})
	return nil
}
