//go:build unix && !linux

package process

import (
	"errors"
	"syscall"
)

// await returns when the leader has ended. This system collects it at that moment.
func (p *process) await() { _ = p.cmd.Wait() }

// awaitEnd is not supported here for a process that is not a child.
func awaitEnd(int) error { return errors.ErrUnsupported }

// zombie is false here, because the leader is collected when it ends.
func (p *process) zombie() bool { return false }

// others lists the process group, as one entry, while any process of it is left. A
// process that has left the group is not found.
func (p *process) others() []int {
	if syscall.Kill(-p.pid, 0) == nil {
		return []int{-p.pid}
	}
	return nil
}

// withMark finds nothing here: the system does not show environments.
func withMark(string) []int { return nil }

// leftovers lists the process group, as one entry.
func (p *process) leftovers(*pipes) []leftover {
	var left []leftover
	for _, pid := range p.others() {
		left = append(left, leftover{pid: pid})
	}
	return left
}
