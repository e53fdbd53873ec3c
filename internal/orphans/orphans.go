// Package orphans reaps dead processes that have no parent to wait for them.
//
// The first process of a container inherits what others leave behind, and has
// to collect it. It must not collect what it waits for itself: the exit status
// would be lost. So everything that the program starts in a session of its
// own, and collects later, is started by Start and is known here until Done.
// What it starts otherwise is in its own session, where no orphan of a module
// can be.
package orphans

import (
	"os/exec"
	"sync"
)

var (
	// mu is held for reading between the start of a process and the entry of
	// its number, and for writing while a dead one is judged and collected.
	mu     sync.RWMutex
	ownMu  sync.Mutex
	waited = map[int]bool{} // guarded by ownMu: those that are waited for
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

// Done says that a process has been collected by who waited for it.
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
