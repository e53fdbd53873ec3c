package process

import (
	"os"
	"os/exec"
)

// Windows has no process groups that signals reach. The command itself is ended, by
// force; the processes that it has started are not.

func ownSession(*exec.Cmd) {}

func (p *process) await() { _ = p.cmd.Wait() }

func (p *process) hasExited() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

func (p *process) terminate() { _ = p.cmd.Process.Kill() }

func (p *process) kill([]int) { _ = p.cmd.Process.Kill() }

func (p *process) others() []int { return nil }

func (p *process) leftovers(*pipes) []leftover { return nil }

func signalAll([]leftover, bool) {}

// readNow cannot read without waiting here.
func readNow(*os.File, []byte) (n int, err error, waits bool) { return 0, nil, true }

// soleName is false here, so that no directory is kept for further attempts.
func soleName(os.FileInfo) bool { return false }

func exitOf(state *os.ProcessState) (code int, signal string) { return state.ExitCode(), "" }
