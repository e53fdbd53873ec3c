package worker

import (
	"fmt"
	"math"
	"os"
	"path"
	"runtime"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// spareProcesses is how many processes must be free when a command starts:
	// its shell, and what that starts.
	spareProcesses = 5
	// scarceProcesses is up to which limit of a user the processes are counted.
	scarceProcesses = 1024
	// spareThreads is how many threads this program keeps where they are scarce,
	// beside those that it has when it begins to work.
	spareThreads = 4
)

// processLimits are what bounds the processes of this worker: control groups
// that have a limit, and the limit of its user; 0 = none that is ever near.
type processLimits struct {
	root   system
	groups []string
	user   int
}

var ownProcessLimits = sync.OnceValue(func() processLimits {
	l := findProcessLimits("/")
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &limit); err == nil && os.Getuid() != 0 && limit.Cur <= scarceProcesses {
		l.user = int(limit.Cur)
	}
	return l
})

func findProcessLimits(root system) processLimits {
	l := processLimits{root: root}
	for _, dir := range root.groups("pids") {
		if _, err := strconv.Atoi(root.read(path.Join(dir, "pids.max"))); err == nil {
			l.groups = append(l.groups, dir)
		}
	}
	return l
}

// checkProcesses reports whether a command would find the processes that its
// start takes: one whose shell starts and cannot start anything would fail.
func checkProcesses() error { return ownProcessLimits().check() }

func (l processLimits) check() error {
	left, limit := l.left()
	if left < spareProcesses {
		return machineError{fmt.Errorf("too few processes are left: %s run", limit)}
	}
	return nil
}

// left is how many processes the scarcest limit leaves, and that limit in words.
func (l processLimits) left() (least int, limit string) {
	least = math.MaxInt
	for _, dir := range l.groups {
		most, err := strconv.Atoi(l.root.read(path.Join(dir, "pids.max")))
		now, also := strconv.Atoi(l.root.read(path.Join(dir, "pids.current")))
		if err == nil && also == nil && most-now < least {
			least, limit = most-now, fmt.Sprintf("%d of the %d that control group %s allows", now, most, dir)
		}
	}
	if l.user == 0 {
		return least, limit
	}
	if now := l.root.threadsOf(os.Getuid()); l.user-now < least {
		least, limit = l.user-now, fmt.Sprintf("%d of the %d that user %d may have (ulimit -u)", now, l.user, os.Getuid())
	}
	return least, limit
}

// reserveThreads starts threads where they are scarce: a Go program dies when
// it needs another thread and the system refuses it. Where no command could
// start beside them, it takes all that are left: the worker lives to say so.
func reserveThreads() {
	limits := ownProcessLimits()
	if limits.user == 0 && len(limits.groups) == 0 {
		return
	}
	left, _ := limits.left()
	if left >= spareProcesses+spareThreads {
		left = spareThreads + 1
	}
	startThreads(left - 1)
}

// startThreads makes the runtime have n more threads, which it keeps.
func startThreads(n int) {
	var up, done sync.WaitGroup
	for range n {
		up.Add(1)
		done.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			up.Done()
			up.Wait() // until each of them has a thread of its own
		})
	}
	done.Wait()
}

// threadsOf counts what the limit of a user counts: threads.
func (s system) threadsOf(uid int) int {
	names, err := readNames(path.Join(string(s), "proc"))
	if err != nil {
		return 0
	}
	count := 0
	for _, name := range names {
		if _, err := strconv.Atoi(name); err != nil {
			continue
		}
		dir := path.Join(string(s), "proc", name)
		var st unix.Stat_t
		if unix.Stat(dir, &st) != nil || int(st.Uid) != uid {
			continue
		}
		if tasks, err := readNames(path.Join(dir, "task")); err == nil {
			count += len(tasks)
		}
	}
	return count
}
