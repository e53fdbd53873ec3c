package worker

import (
	"fmt"
	"os"
	"path"
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
	for _, dir := range l.groups {
		most, err := strconv.Atoi(l.root.read(path.Join(dir, "pids.max")))
		now, also := strconv.Atoi(l.root.read(path.Join(dir, "pids.current")))
		if err == nil && also == nil && most-now < spareProcesses {
			return machineError{fmt.Errorf("too few processes are left: %d of the %d that control group %s allows run", now, most, dir)}
		}
	}
	if l.user == 0 {
		return nil
	}
	if now := l.root.threadsOf(os.Getuid()); l.user-now < spareProcesses {
		return machineError{fmt.Errorf("too few processes are left: %d of the %d that user %d may have (ulimit -u) run", now, l.user, os.Getuid())}
	}
	return nil
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
