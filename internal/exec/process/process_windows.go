package process

import (
	"os"
	"os/exec"
)

// Windows has no process groups that signals reach: the command itself is
// ended, at once; what it has started is not.

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

// readNow has no way to look without waiting.
func readNow(*os.File, []byte) (n int, err error, waits bool) { return 0, nil, true }

// soleName is not known: nothing is kept for later attempts.
func soleName(os.FileInfo) bool { return false }

func exitOf(state *os.ProcessState) (code int, signal string) { return state.ExitCode(), "" }
