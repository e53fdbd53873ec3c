package machine

import (
	"fmt"
	"math"
	"os"
	"path"
	"runtime"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/modpipe/modpipe/internal/procfs"
)

const (
	// spareProcesses is how many processes must be free when a command starts,
	// for its shell and the programs that the shell starts.
	spareProcesses = 5
	// scarceProcesses is the highest limit of a user at which the processes are
	// counted; counting takes time, and higher limits are rarely reached.
	scarceProcesses = 1024
	// spareThreads is how many additional threads this program reserves where
	// threads are scarce.
	spareThreads = 4
)

// processLimits bound how many processes this program may start.
type processLimits struct {
	root   system
	groups []string // control groups that have a limit
	user   int      // limit of the user; 0 = none, or above scarceProcesses
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

// CheckProcesses returns an error of the machine when a command could start
// too few processes: its shell would start, and fail to start any program.
func CheckProcesses() error { return ownProcessLimits().check() }

func (l processLimits) check() error {
	left, limit := l.left()
	if left < spareProcesses {
		return Errorf("too few processes are left: %s run", limit)
	}
	return nil
}

// left is how many more processes the tightest limit allows, and that limit in
// words.
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

// ReserveThreads starts threads where they are scarce: a Go program dies when
// it needs another thread and the system refuses it. Where so few are left that
// no command could start, it takes all of them, so that the worker survives and
// can report the shortage.
func ReserveThreads() {
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

// startThreads starts n threads. The Go runtime keeps them.
func startThreads(n int) {
	n = max(n, 0)
	var up, done sync.WaitGroup
	up.Add(n) // before the first one starts: it would not wait for those that come later
	for range n {
		done.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			up.Done()
			up.Wait() // until each goroutine has a thread
		})
	}
	done.Wait()
}

// threadsOf counts the threads of a user, which is what the limit bounds.
func (s system) threadsOf(uid int) int {
	names, err := procfs.List(path.Join(string(s), "proc"))
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
		if tasks, err := procfs.List(path.Join(dir, "task")); err == nil {
			count += len(tasks)
		}
	}
	return count
}
