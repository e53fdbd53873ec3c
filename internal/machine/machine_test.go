//go:build linux

package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// TestErrorsOfTheMachine: the system's answers that say that the machine lacks
// something are told from those about the command.
func TestErrorsOfTheMachine(t *testing.T) {
	for errno, want := range map[syscall.Errno]bool{
		syscall.ENOSPC: true, syscall.EMFILE: true, syscall.ENFILE: true, syscall.EAGAIN: true, syscall.ENOMEM: true,
		syscall.EROFS: true, syscall.EDQUOT: true, syscall.EIO: true, syscall.ESTALE: true,
		syscall.ENOENT: false, syscall.EACCES: false, syscall.ENOEXEC: false, syscall.E2BIG: false, syscall.ETXTBSY: false, syscall.ELOOP: false,
	} {
		err := fmt.Errorf("start: %w", &fs.PathError{Op: "fork/exec", Path: "/x", Err: errno})
		if got := Caused(err); got != want {
			t.Errorf("%v: the machine is the cause: %v, want %v", errno, got, want)
		}
	}
	if Caused(errors.New("other")) {
		t.Error("the machine is the cause of anything")
	}
}

// TestControlGroupsLimitTheOffer: the limits are those of the worker's own group
// and of those above it, in both versions, as a service and as a container
// see them.
func TestControlGroupsLimitTheOffer(t *testing.T) {
	const (
		meminfo = "MemTotal:        8192 kB\nMemFree: 1 kB\n"
		v1      = "30 20 0:26 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n31 20 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
		v2      = "29 20 0:25 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
	)
	for _, tt := range []struct {
		name   string
		files  map[string]string
		cpus   int // 0 = as many as there are
		memory int64
	}{
		{"no control groups", nil, 0, 8 << 20},
		{"a service, version 2", map[string]string{
			"proc/self/cgroup": "0::/system.slice/modpipe.service\n", "proc/self/mountinfo": v2,
			"sys/fs/cgroup/system.slice/modpipe.service/cpu.max": "150000 100000\n", "sys/fs/cgroup/system.slice/modpipe.service/memory.max": "1048576\n",
			"sys/fs/cgroup/system.slice/cpu.max": "max 100000\n", "sys/fs/cgroup/system.slice/memory.max": "max\n",
		}, 2, 1 << 20},
		{"the group above is the narrower one", map[string]string{
			"proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": v2,
			"sys/fs/cgroup/a/b/cpu.max": "400000 100000\n", "sys/fs/cgroup/a/cpu.max": "300000 100000\n",
			"sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/memory.max": "2097152\n",
		}, 3, 2 << 20},
		{"a container, version 2", map[string]string{
			"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": v2, "sys/fs/cgroup/cpu.max": "50000 100000\n", "sys/fs/cgroup/memory.max": "3145728\n",
		}, 1, 3 << 20},
		{"a container that shows its group's name, version 2", map[string]string{
			"proc/self/cgroup": "0::/docker/abc\n", "proc/self/mountinfo": "29 20 0:25 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n",
			"sys/fs/cgroup/cpu.max": "200000 100000\n", "sys/fs/cgroup/memory.max": "max\n",
		}, 2, 8 << 20},
		{"a service, version 1", map[string]string{
			"proc/self/cgroup": "9:memory:/svc\n2:cpu,cpuacct:/svc\n1:name=systemd:/svc\n0::/\n", "proc/self/mountinfo": v1,
			"sys/fs/cgroup/cpu,cpuacct/svc/cpu.cfs_quota_us": "100001\n", "sys/fs/cgroup/cpu,cpuacct/svc/cpu.cfs_period_us": "100000\n",
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
			"sys/fs/cgroup/memory/svc/memory.limit_in_bytes": "4194304\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, 2, 4 << 20},
		{"a container, version 1: what is mounted last covers the rest", map[string]string{
			"proc/self/cgroup":                               "9:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n",
			"proc/self/mountinfo":                            v1 + "40 30 0:26 /docker/abc /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n41 31 0:27 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us":             "10000\n",
			"sys/fs/cgroup/cpu/cpu.cfs_period_us":            "100000\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":     "5242880\n",
			"sys/fs/cgroup/memory/docker/abc/does-not-count": "",
		}, 1, 5 << 20},
		{"a group outside of what is shown", map[string]string{
			"proc/self/cgroup": "0::/../../other\n", "proc/self/mountinfo": v2, "sys/fs/cgroup/cpu.max": "100000 100000\n",
		}, 1, 8 << 20},
		{"nonsense", map[string]string{
			"proc/self/cgroup": "nonsense\n0::/x\n", "proc/self/mountinfo": "short\n" + v2, "sys/fs/cgroup/x/cpu.max": "0 0\n", "sys/fs/cgroup/x/memory.max": "-5\n",
		}, 0, 8 << 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			put := func(name, text string) {
				path := filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			put("proc/meminfo", meminfo)
			for name, text := range tt.files {
				put(name, text)
			}
			if s := system(root); s.quota() != tt.cpus || s.memory() != tt.memory {
				t.Errorf("%d CPUs, %d bytes; want %d, %d", s.quota(), s.memory(), tt.cpus, tt.memory)
			}
		})
	}
}

// TestTooFewProcessesAreTheMachinesFault: a command is not started where its
// control group lets it start nothing.
func TestTooFewProcessesAreTheMachinesFault(t *testing.T) {
	for current, unable := range map[string]bool{"10": false, "15": false, "16": true, "20": true} {
		root := t.TempDir()
		for name, text := range map[string]string{
			"proc/self/cgroup": "8:pids:/svc\n", "proc/self/mountinfo": "30 20 0:26 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n",
			"sys/fs/cgroup/pids/pids.max": "max\n", "sys/fs/cgroup/pids/svc/pids.max": "20\n", "sys/fs/cgroup/pids/svc/pids.current": current + "\n",
		} {
			path := filepath.Join(root, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := findProcessLimits(system(root)).check(); Caused(err) != unable {
			t.Errorf("%s of 20 processes: %v", current, err)
		}
	}
}

// TestThreadsAreKept: each of those that are started together needs one of its
// own, and the runtime gives none back.
func TestThreadsAreKept(t *testing.T) {
	const n = 30
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	for range 2000 { // goroutines that start early must wait for the later ones
		startThreads(n)
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil || len(tasks) < n {
		t.Errorf("%d threads, %v", len(tasks), err)
	}
}
