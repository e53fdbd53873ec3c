package orphans

import (
	"bytes"
	"context"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
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

// sweep looks at all processes once.
func sweep() {
	dir, err := os.Open("/proc")
	if err != nil {
		return // no file descriptor, perhaps: the next end of a process tries again
	}
	names, err := dir.Readdirnames(-1)
	_ = dir.Close() // it was only read
	if err != nil {
		return
	}
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			collectOrphan(pid)
		}
	}
}

// collectOrphan collects a process if it is dead, was left to this one, and
// was started by another: it is in another session, and no process waits for it.
func collectOrphan(pid int) {
	mu.Lock()
	defer mu.Unlock()
	dead, parent, session := state(pid)
	mine, err := syscall.Getpgid(0)
	if err != nil || !dead || parent != os.Getpid() || own(pid) {
		return
	}
	if _, _, ours := state(os.Getpid()); session == ours || session == mine {
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

// state reads what the system says of a process.
func state(pid int) (dead bool, parent, session int) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false, 0, 0
	}
	// The name, in parentheses, may hold anything.
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(f) < 4 {
		return false, 0, 0
	}
	parent, _ = strconv.Atoi(f[1])
	session, _ = strconv.Atoi(f[3])
	return f[0] == "Z", parent, session
}
