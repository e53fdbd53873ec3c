// Package orphans reaps dead processes that have no parent to wait for them.
//
// The first process of a container inherits the processes that others leave
// behind, and has to collect them. It must not collect a process that it waits for
// elsewhere, because the exit status would be lost. So the program starts every
// process in a separate session by Start, which notes it until Done. All other
// processes that it starts are in its own session, where no orphan of a module can
// be.
package orphans

import (
	"os/exec"
	"sync"
)

var (
	// mu is held for reading between the start of a process and the entry of its
	// number, and for writing while a dead process is examined and collected.
	mu     sync.RWMutex
	ownMu  sync.Mutex
	waited = map[int]bool{} // guarded by ownMu: processes that a caller of Start waits for
)

// Start starts a command that the caller waits for and then reports as Done.
func Start(cmd *exec.Cmd) error {
	mu.RLock()
	defer mu.RUnlock()
	if err := cmd.Start(); err != nil {
		return err
	}
	ownMu.Lock()
	defer ownMu.Unlock()
	waited[cmd.Process.Pid] = true
	return nil
}

// Done reports that the caller has collected a process.
func Done(pid int) {
	ownMu.Lock()
	defer ownMu.Unlock()
	delete(waited, pid)
}

func own(pid int) bool {
	ownMu.Lock()
	defer ownMu.Unlock()
	return waited[pid]
}
