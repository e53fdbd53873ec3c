package orphans

import (
	"context"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/modpipe/modpipe/internal/procfs"
)

// calm is how long a sweep waits for more to end: they mostly come in groups.
const calm = 100 * time.Millisecond

// Reap collects orphans until ctx ends. Only a process that inherits them has
// a reason to call it.
func Reap(ctx context.Context) {
	ends := make(chan os.Signal, 1) // one signal is enough for any number of ends
	signal.Notify(ends, syscall.SIGCHLD)
	defer signal.Stop(ends)
	for {
		sweep()
		select {
		case <-ends:
		case <-ctx.Done():
			return
		}
		rest := time.NewTimer(calm)
		select {
		case <-rest.C:
		case <-ctx.Done():
			rest.Stop()
			return
		}
	}
}

// sweep reads the state of all processes once.
func sweep() {
	names, err := procfs.List("/proc")
	if err != nil {
		return // no file descriptor, perhaps: the next end of a process tries again
	}
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			collectOrphan(pid)
		}
	}
}

// collectOrphan collects a process that is dead, was left to this one, and was started
// by another: it is in another session, and no caller of Start waits for it.
func collectOrphan(pid int) {
	mu.Lock()
	defer mu.Unlock()
	st, ok := procfs.StatOf(pid)
	group, err := syscall.Getpgid(0)
	if err != nil || !ok || !st.Dead || st.Parent != os.Getpid() || own(pid) {
		return
	}
	if me, ok := procfs.StatOf(os.Getpid()); !ok || st.Session == me.Session || st.Session == group {
		return
	}
	collect(pid)
}

// Collect collects a dead process of a module where it was left to this one.
func Collect(pid, parent int) {
	if parent != os.Getpid() {
		return
	}
	mu.Lock()
	defer mu.Unlock()
	if !own(pid) {
		collect(pid)
	}
}

func collect(pid int) { _, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil) }
