package procfs

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// Stat is the state of a process.
type Stat struct {
	Parent  int
	Session int
	Dead    bool // it has ended, and may wait for its parent to collect it
	Exiting bool // it has begun to end, and closes its files
}

// List returns the names of the entries of a directory, in no order.
func List(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	return f.Readdirnames(-1)
}

// Fields are the fields of /proc/PID/stat from the third on: proc(5) counts
// from one, so its field n is at n-3. The result is empty when the process is gone.
func Fields(pid int) []string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil
	}
	// The name, in parentheses, may contain anything.
	return strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
}

// StatOf reads the state of a process; ok is false when it is gone.
func StatOf(pid int) (s Stat, ok bool) {
	f := Fields(pid)
	const flags, exiting = 6, 0x4
	if len(f) <= flags {
		return Stat{}, false
	}
	parent, _ := strconv.Atoi(f[1])
	session, _ := strconv.Atoi(f[3])
	bits, _ := strconv.ParseUint(f[flags], 10, 64)
	return Stat{Parent: parent, Session: session, Dead: f[0] == "Z" || f[0] == "X", Exiting: bits&exiting != 0}, true
}
