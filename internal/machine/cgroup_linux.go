package machine

import (
	"math"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// system is the root of the file system that describes the machine. Tests use
// another one.
type system string

func (s system) read(name string) string {
	text, err := os.ReadFile(filepath.Join(string(s), name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// Memory is the memory that this process may use in bytes: what the machine
// has, or less where a control group limits it.
func Memory() int64 { return system("/").memory() }

func (s system) memory() int64 {
	var total int64
	for line := range strings.Lines(s.read("proc/meminfo")) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			total = kib << 10
		}
	}
	for _, dir := range s.groups("memory") {
		for _, file := range []string{"memory.max", "memory.limit_in_bytes"} {
			if limit, err := strconv.ParseInt(s.read(path.Join(dir, file)), 10, 64); err == nil && limit > 0 && limit < total {
				total = limit
			}
		}
	}
	return total
}

// quota is how many CPUs the control groups let this process use, rounded up;
// 0 = no limit.
func quota() int { return system("/").quota() }

func (s system) quota() int {
	least := math.Inf(1)
	for _, dir := range s.groups("cpu") {
		most, period, ok := strings.Cut(s.read(path.Join(dir, "cpu.max")), " ")
		if !ok {
			most, period = s.read(path.Join(dir, "cpu.cfs_quota_us")), s.read(path.Join(dir, "cpu.cfs_period_us"))
		}
		q, err := strconv.ParseFloat(most, 64)
		p, also := strconv.ParseFloat(period, 64)
		if err == nil && also == nil && q > 0 && p > 0 {
			least = min(least, q/p)
		}
	}
	if math.IsInf(least, 1) {
		return 0
	}
	return max(1, int(math.Ceil(least)))
}

// groups lists the directories of the control groups that limit a resource
// for this process: its own first, then those above it, in version 1 of the
// hierarchy and in version 2.
func (s system) groups(controller string) []string {
	var dirs []string
	for line := range strings.Lines(s.read("proc/self/cgroup")) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		unified := parts[0] == "0" && parts[1] == ""
		if !unified && !listed(parts[1], controller) {
			continue
		}
		root, at, ok := s.mount(controller, unified)
		if !ok {
			continue
		}
		dirs = append(dirs, upwards(at, below(root, parts[2]))...)
	}
	return dirs
}

// below is the path of a group below the root of the mounted hierarchy. A group
// outside of it counts as the root: a container mounts its own group only.
func below(root, group string) string {
	if root == "/" {
		return path.Clean("/" + group) // also /../x, seen from inside a namespace
	}
	rest, ok := strings.CutPrefix(group, root)
	if !ok || rest != "" && rest[0] != '/' {
		return "/"
	}
	return path.Clean("/" + rest)
}

// upwards lists a directory below at and those above it, up to at itself.
func upwards(at, dir string) []string {
	var dirs []string
	for ; ; dir = path.Dir(dir) {
		dirs = append(dirs, path.Join(at, dir))
		if dir == "/" {
			return dirs
		}
	}
}

// mount finds where the hierarchy of a controller is mounted, and which of its
// groups is visible there. A later mount covers an earlier one.
func (s system) mount(controller string, unified bool) (root, at string, ok bool) {
	for line := range strings.Lines(s.read("proc/self/mountinfo")) {
		before, after, found := strings.Cut(strings.TrimSpace(line), " - ")
		place, kind := strings.Fields(before), strings.Fields(after)
		if !found || len(place) < 5 || len(kind) < 3 {
			continue
		}
		if unified && kind[0] == "cgroup2" || !unified && kind[0] == "cgroup" && listed(kind[2], controller) {
			root, at, ok = unescaped(place[3]), unescaped(place[4]), true
		}
	}
	return root, at, ok
}

// unescaped decodes a path of mountinfo, which writes white space in octal.
func unescaped(text string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(text)
}

func listed(words, word string) bool {
	for w := range strings.SplitSeq(words, ",") {
		if w == word {
			return true
		}
	}
	return false
}

// Load is the load average over one minute.
func Load() float64 {
	first, _, _ := strings.Cut(system("/").read("proc/loadavg"), " ")
	l, _ := strconv.ParseFloat(first, 64)
	return l
}
