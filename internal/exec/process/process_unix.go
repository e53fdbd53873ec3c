//go:build unix

package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownSession makes the command the leader of a session, and so of a process group: a
// signal reaches the whole group, and no process of it stops because it reads from a
// terminal.
func ownSession(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
}

// soleName reports whether a file has no second name.
func soleName(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 1
}

// terminate asks the group to end.
func (p *process) terminate() { _ = syscall.Kill(-p.pid, syscall.SIGTERM) }

// hasExited reports whether the leader has ended, even if wait has not noticed it.
func (p *process) hasExited() bool {
	select {
	case <-p.exited:
		return true
	default:
		return p.zombie()
	}
}

// signalAll sends TERM, or KILL, to processes and groups.
func signalAll(left []leftover, kill bool) {
	signal := syscall.SIGTERM
	if kill {
		signal = syscall.SIGKILL
	}
	for _, l := range left {
		_ = syscall.Kill(l.pid, signal)
	}
}

// readNow reads the content of a pipe. waits reports that the pipe is empty and has
// not ended.
func readNow(f *os.File, buf []byte) (n int, err error, waits bool) { // the error belongs to n
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err, false
	}
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		n, failed = syscall.Read(int(fd), buf)
		return true
	})
	switch {
	case err != nil:
		return 0, err, false
	case errors.Is(failed, syscall.EAGAIN), errors.Is(failed, syscall.EINTR):
		return 0, nil, true
	case failed != nil:
		return 0, failed, false
	case n == 0:
		return 0, io.EOF, false
	}
	return n, nil, false
}

// kill kills the group, and the others, which have left it.
func (p *process) kill(others []int) {
	_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	for _, pid := range others {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// exitOf returns the exit code, which is 128 + n after signal n, and the name of the
// signal.
func exitOf(state *os.ProcessState) (code int, signal string) {
	ws, ok := state.Sys().(syscall.WaitStatus)
	if !ok || !ws.Signaled() {
		return state.ExitCode(), ""
	}
	name := unix.SignalName(ws.Signal())
	if name == "" {
		name = fmt.Sprintf("signal %d", ws.Signal())
	}
	return 128 + int(ws.Signal()), name
}
