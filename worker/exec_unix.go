//go:build unix

package worker

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownSession makes the command the leader of a session, and so of a process
// group: a signal reaches all of the group, and nothing in it stops because
// it asks a terminal that is not there for it.
func ownSession(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
}

// soleName reports whether a file has no name but the one it was looked up by.
func soleName(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 1
}

// terminate asks the group to end.
func (p *process) terminate() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM) }

// kill ends the group and the others, which have left it.
func (p *process) kill(others []int) {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	for _, pid := range others {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// exitOf is the exit code, 128 + n after signal n, and the signal's name.
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
