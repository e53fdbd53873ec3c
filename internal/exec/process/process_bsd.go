//go:build unix && !linux

package process

import (
	"errors"
	"syscall"
)

// await has nothing to wait for: the leader is collected as soon as it ends.
func (p *process) await() { _ = p.cmd.Wait() }

// awaitEnd is not possible here for what is not a child.
func awaitEnd(int) error { return errors.ErrUnsupported }

// zombie is not known here.
func (p *process) zombie() bool { return false }

// others is the group, as one, while anything of it is there. What has left
// the group is not found.
func (p *process) others() []int {
	if syscall.Kill(-p.pid, 0) == nil {
		return []int{-p.pid}
	}
	return nil
}

// withMark finds nothing: the system does not show environments.
func withMark(string) []int { return nil }

// leftovers is the group, as one.
func (p *process) leftovers(*pipes) []leftover {
	var left []leftover
	for _, pid := range p.others() {
		left = append(left, leftover{pid: pid})
	}
	return left
}
