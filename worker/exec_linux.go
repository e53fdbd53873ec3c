package worker

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// await returns when the leader has ended, and leaves it uncollected: until
// then its number cannot be given to another group.
func (p *process) await() {
	for {
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
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
	leader := p.cmd.Process.Pid
	var found []int
	for _, pid := range pidsSince(leader) {
		st, ok := statOf(pid)
		if !ok {
			continue
		}
		ours := st.session == leader || slices.Contains(found, st.parent) || p.marked(pid)
		switch {
		case !ours:
		case st.dead:
			collect(pid, st.parent)
		default:
			found = append(found, pid)
		}
	}
	return found
}

// collect takes a dead orphan off the table where we are who it was left to
// (the first process of a container).
func collect(pid, parent int) {
	if parent == os.Getpid() {
		_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
	}
}

// execLimit is how long a process that is in the middle of an exec is waited
// for. It takes less than a millisecond, unless the machine has no time for it.
const execLimit = time.Second

// marked reports whether a process carries the mark. While it is in an exec it
// shows no environment, and nobody can tell whose it is.
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

// bare reports whether a process has no environment, and is in no exec that
// would give it one: the kernel sets where its code begins last.
func bare(pid int) bool {
	const flags, startCode, envStart, envEnd = 6, 23, 47, 48 // as proc(5) counts them, less 3
	const kernelThread = 0x00200000
	f := statFields(pid)
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
	names, err := readNames("/proc")
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

func readNames(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	return f.Readdirnames(-1)
}

// lastPID is the number that was given out last; 0 where nobody says it, and
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

type procStat struct {
	parent, session int
	dead            bool
}

// statFields are the fields of a process's state, from the third on; none when
// it is gone.
func statFields(pid int) []string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil
	}
	// The name, in parentheses, may hold anything.
	return strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
}

func statOf(pid int) (procStat, bool) {
	f := statFields(pid)
	if len(f) < 4 {
		return procStat{}, false
	}
	parent, _ := strconv.Atoi(f[1])
	session, _ := strconv.Atoi(f[3])
	return procStat{parent: parent, session: session, dead: f[0] == "Z" || f[0] == "X"}, true
}
