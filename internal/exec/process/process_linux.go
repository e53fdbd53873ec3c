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

// await returns when the leader has ended, and leaves it uncollected: until
// then its number cannot be given to another group.
func (p *process) await() {
	if awaitEnd(p.pid) == nil {
		return
	}
	for { // an older kernel, or no file descriptor: a thread waits
		err := unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// awaitEnd returns when a process has ended. It takes no thread: a machine
// that has no more of them ends the worker.
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

// zombie reports whether the leader has ended and was not collected.
func (p *process) zombie() bool {
	st, ok := procfs.StatOf(p.pid)
	return !ok || st.Dead
}

// others are the live processes that descend from the command, without its
// leader: those of its session, those that carry its mark in their
// environment (a daemon has a session of its own), and the children of these.
// What clears its environment, leaves the session and outlives its parent is
// not found.
func (p *process) others() []int {
	for range mostLooks {
		before := lastPID()
		if found := p.look(); len(found) > 0 || lastPID() == before {
			return found
		} // else one that was listed may have gone, and have left one that was not
	}
	return nil
}

// mostLooks bounds how often nothing is to be found on a machine on which
// processes are started all the time.
const mostLooks = 20

// look is others at one look.
func (p *process) look() []int {
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

// leftovers are the others, and, while the output is still held, what holds it
// and is not found otherwise: it has cleared its environment and left its
// session. What is ending by itself is not among them.
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

// nameOf is the command name of a process; empty when it is gone.
func nameOf(pid int) string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// holders are the processes younger than leader that hold a writing end of the
// pipes. This process and what it is starting right now are not among them.
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

// pipeName is how the system names what a file is open on; empty when it is closed.
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

// execLimit is how long a process that is in the middle of an exec is waited
// for. It takes less than a millisecond, unless the machine has no time for it.
const execLimit = time.Second

// marked reports whether a process carries the mark. While it is in an exec it
// shows no environment, so its owner cannot be found.
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

// bare reports whether a process has no environment, and is in no exec that
// would give it one: the kernel sets where its code begins last.
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

// pidsSince lists the processes that may have been made after leader: those
// of higher numbers, and, when numbers have started again, all.
func pidsSince(leader int) []int {
	last := lastPID()
	if last == leader {
		return nil // nothing was started since, anywhere
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

// readProcesses lists /proc. Without a file descriptor for it this worker could not see
// that something is left, so it waits for one.
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

// lastPID is the number that was given out last; 0 where the system does not tell, and
// then all processes are looked at.
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
