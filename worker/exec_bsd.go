//go:build unix && !linux

package worker

import "syscall"

// await has nothing to wait for: the leader is collected as soon as it ends.
func (p *process) await() { _ = p.cmd.Wait() }

// others is the group, as one, while anything of it is there. What has left
// the group is not found.
func (p *process) others() []int {
	if syscall.Kill(-p.cmd.Process.Pid, 0) == nil {
		return []int{-p.cmd.Process.Pid}
	}
	return nil
}
