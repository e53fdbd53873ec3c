package process

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/modpipe/modpipe/internal/machine"
	"github.com/modpipe/modpipe/internal/orphans"
	"github.com/modpipe/modpipe/internal/procfs"
)

// await returns when the leader has ended, and does not collect it: until it is
// collected, no other group can get its number.
func (p *process) await() {
	if awaitEnd(p.pid) == nil {
		return
	}
	for { // an older kernel, or no free file descriptor: a thread waits
		err := unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// awaitEnd returns when a process has ended. It uses no thread, because a Go program
// dies on a machine that refuses it another thread.
func awaitEnd(pid int) error {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	defer func() { _ = f.Close() }() // it was only waited for
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		if err != nil && !errors.Is(err, unix.EINTR) {
			failed = err
		}
		return ready > 0 || failed != nil
	})
	return errors.Join(err, failed)
}

// zombie reports whether the leader has ended and is not collected.
func (p *process) zombie() bool {
	st, ok := procfs.StatOf(p.pid)
	return !ok || st.Dead
}

// others lists the live processes that descend from the command, without its leader:
// those of its session, those that carry its mark in their environment (a daemon has
// another session), and the children of these. It does not find a process that clears
// its environment, leaves the session and outlives its parent.
func (p *process) others() []int {
	for range mostScans {
		before := lastPID()
		if found := p.scan(); len(found) > 0 || lastPID() == before {
			return found
		} // else a listed process may have ended, and left a child that was not listed
	}
	return nil
}

// mostScans bounds how often the processes are scanned on a machine that starts
// processes all the time.
const mostScans = 20

// scan is one scan for others.
func (p *process) scan() []int {
	leader := p.pid
	var found []int
	for _, pid := range pidsSince(leader) {
		st, ok := procfs.StatOf(pid)
		if !ok {
			continue
		}
		ours := st.Session == leader || slices.Contains(found, st.Parent) || p.marked(pid)
		switch {
		case !ours:
		case st.Dead:
			orphans.Collect(pid, st.Parent)
		default:
			found = append(found, pid)
		}
	}
	return found
}

// leftovers lists the others, and, while the output is still open, the processes that
// hold it and are not found otherwise, because they have cleared their environment and
// left their session. It leaves out processes that are ending.
func (p *process) leftovers(out *pipes) []leftover {
	pids := p.others()
	select {
	case <-out.closed:
	default:
		for _, pid := range out.holders(p.pid) {
			if !slices.Contains(pids, pid) {
				pids = append(pids, pid)
			}
		}
	}
	var left []leftover
	for _, pid := range pids {
		if st, ok := procfs.StatOf(pid); !ok || st.Exiting {
			continue
		}
		left = append(left, leftover{pid: pid, name: nameOf(pid)})
	}
	return left
}

// nameOf is the name of the command that a process runs; empty when it is gone.
func nameOf(pid int) string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// holders lists the processes younger than leader that hold a writing end of the
// pipes, without this process and its children.
func (p *pipes) holders(leader int) []int {
	var wanted []string
	for _, s := range p.streams {
		if name := pipeName(s.r); name != "" {
			wanted = append(wanted, name)
		}
	}
	var found []int
	for _, pid := range pidsSince(leader) {
		st, ok := procfs.StatOf(pid)
		if ok && !st.Dead && st.Parent != os.Getpid() && pid != os.Getpid() && pid != 1 && holdsFile(pid, wanted) {
			found = append(found, pid)
		}
	}
	return found
}

// pipeName is the name by which the system shows an open file; empty when it is
// closed.
func pipeName(f *os.File) (name string) {
	raw, err := f.SyscallConn()
	if err != nil {
		return ""
	}
	_ = raw.Control(func(fd uintptr) { name, _ = os.Readlink("/proc/self/fd/" + strconv.Itoa(int(fd))) })
	return name
}

func holdsFile(pid int, names []string) bool {
	dir := "/proc/" + strconv.Itoa(pid) + "/fd"
	files, err := procfs.List(dir)
	if err != nil {
		return false
	}
	for _, file := range files {
		if name, err := os.Readlink(dir + "/" + file); err == nil && slices.Contains(names, name) {
			return true
		}
	}
	return false
}

// execLimit is how long to wait for a process that is in the middle of an exec. An
// exec takes less than a millisecond on a machine that is not overloaded.
const execLimit = time.Second

// marked reports whether a process carries the mark. A process that is in an exec
// shows no environment, so marked waits for the end of the exec.
func (p *process) marked(pid int) bool {
	limit := time.Now().Add(execLimit)
	for {
		env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
		if err != nil || len(env) > 0 || bare(pid) || time.Now().After(limit) {
			return err == nil && bytes.Contains(env, []byte(p.marker))
		}
		<-time.After(time.Millisecond)
	}
}

// withMark lists the live processes that carry a mark in their environment.
func withMark(marker string) []int {
	p, found := &process{marker: marker}, []int(nil)
	for _, pid := range pidsSince(0) {
		if st, ok := procfs.StatOf(pid); ok && !st.Dead && p.marked(pid) {
			found = append(found, pid)
		}
	}
	return found
}

// bare reports whether a process has no environment, and is not in an exec that would
// give it one. The kernel sets the start of the code last.
func bare(pid int) bool {
	const flags, startCode, envStart, envEnd = 6, 23, 47, 48 // as proc(5) counts them, less 3
	const kernelThread = 0x00200000
	f := procfs.Fields(pid)
	if len(f) <= envEnd || f[0] == "Z" || f[0] == "X" {
		return true
	}
	if n, err := strconv.ParseUint(f[flags], 10, 64); err != nil || n&kernelThread != 0 {
		return true
	}
	return f[startCode] != "0" && f[envStart] == f[envEnd]
}

// pidsSince lists the processes that may have been started after leader: those with
// higher numbers, and all of them when the numbers have wrapped around.
func pidsSince(leader int) []int {
	last := lastPID()
	if last == leader {
		return nil // no process was started since
	}
	names, err := readProcesses()
	if err != nil {
		return nil
	}
	var pids []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err == nil && pid != leader && (pid > leader || last < leader) {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids) // parents mostly come before their children
	return pids
}

// readProcesses lists /proc. It waits for a free file descriptor, because without one
// this program could not see that processes are left.
func readProcesses() ([]string, error) {
	limit := time.Now().Add(sweepLimit)
	for {
		names, err := procfs.List("/proc")
		if !machine.OutOfFiles(err) || time.Now().After(limit) {
			return names, err
		}
		<-time.After(pollGroup)
	}
}

// lastPID is the number of the newest process; 0 when the system does not show it, and
// then all processes are scanned.
func lastPID() int {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	last, err := strconv.Atoi(fields[len(fields)-1])
	if err != nil {
		return 0
	}
	return last
}
