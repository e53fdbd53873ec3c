package process

import (
	"cmp"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

// allowance is the part of this program's environment that modules may ask for.
type allowance struct {
	all      bool
	patterns []string
}

func (a allowance) covers(name string) bool { return a.all || matchAny(a.patterns, name) }

func matchAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return jobs.MatchVariable(p, name) })
}

// inherited lists the variables of the worker that every command gets; on Windows
// with those that programs need to start.
func inherited() []string {
	names := []string{"PATH", "HOME", "USER", "LANG", "LANGUAGE", "LC_*", "TZ"}
	if runtime.GOOS == "windows" {
		names = append(names, "Path", "SystemRoot", "SYSTEMROOT", "ComSpec", "COMSPEC", "PATHEXT", "USERPROFILE", "USERNAME", "windir")
	}
	return names
}

// environment lists the variables of a command: those that every command gets,
// those that it asks for and the worker allows, those that the pipeline declares
// (the last of equal names wins), those of its task, its secrets, and modpipe's own,
// which cannot be set.
func (c *command) environment() (env []string, err error) {
	job, x, tmp := c.t.Job, c.x, c.files.tmp
	env = append(env, "CI=true")
	env = append(env, matching(x.environ, inherited())...)
	env = append(env, x.home.variables(x.environ, c.files.root)...)
	env = append(env, "TMPDIR="+tmp)
	if runtime.GOOS == "windows" {
		env = append(env, "TEMP="+tmp, "TMP="+tmp)
	}
	if job.Trace != "" {
		env = append(env, "TRACEPARENT="+job.Trace)
	}
	passed := c.passed(job.Command.PassEnv)
	for _, name := range job.Command.RequiredEnv {
		if lookup(passed, name) == "" {
			return nil, fmt.Errorf("pass-env: worker %s allows %s, and has no value for it", c.t.Worker, name)
		}
	}
	env = append(env, passed...)
	for _, v := range slices.Concat(job.Command.Env, c.t.Variables) {
		if !reserved(v.Key) {
			env = append(env, v.Key+"="+v.Value)
		}
	}
	for _, s := range c.t.Secrets {
		if name := s.Variable(); !reserved(name) {
			env = append(env, name+"="+c.files.secretValue(s))
		}
	}
	env = lastWins(append(env, c.variables()...))
	return env, fits(env)
}

// matching lists the variables of an environment whose names match.
func matching(environ, patterns []string) []string {
	var env []string
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if matchAny(patterns, name) {
			env = append(env, kv)
		}
	}
	return env
}

// passed lists the variables that pass-env asks for and the worker allows. It
// warns of each variable that the worker has and withholds.
func (c *command) passed(patterns []string) (env []string) {
	for _, kv := range matching(c.x.environ, patterns) {
		name, _, _ := strings.Cut(kv, "=")
		switch {
		case reserved(name):
		case c.x.allow.covers(name):
			env = append(env, kv)
		default:
			c.warn("pass-env: worker %s does not allow %s (worker --pass-env)", c.t.Worker, name)
		}
	}
	return env
}

// variables lists modpipe's own variables.
func (c *command) variables() []string {
	job, fencing := c.t.Job, ""
	if job.Keyed {
		fencing = strconv.FormatUint(c.t.Fencing, 10)
	}
	env := []string{
		"MODPIPE_RUN_ID=" + string(job.Run),
		"MODPIPE_PIPELINE=" + job.Pipeline,
		"MODPIPE_MODULE=" + job.Name,
		"MODPIPE_ATTEMPT=" + strconv.Itoa(int(job.Attempt)),
		"MODPIPE_WORKER=" + c.t.Worker,
		"MODPIPE_WORKSPACE=" + c.files.workspace,
		"MODPIPE_FENCING_TOKEN=" + fencing,
		"MODPIPE_OUTPUT=" + c.files.output,
		"MODPIPE_NEEDS=" + c.files.needs,
	}
	if job.Commit != "" {
		env = append(env, "MODPIPE_COMMIT="+job.Commit)
	}
	return append(env, matrixEnv(job.Matrix)...)
}

func matrixEnv(matrix []pipeline.Coordinate) []string {
	var env []string
	for _, p := range matrix {
		axis := strings.ToUpper(strings.ReplaceAll(p.Axis, "-", "_"))
		env = append(env, "MODPIPE_MATRIX_"+axis+"="+p.Value)
	}
	return env
}

func reserved(name string) bool { return strings.HasPrefix(strings.ToUpper(name), "MODPIPE_") }

// lastWins keeps the last entry of each name.
func lastWins(env []string) []string {
	at := make(map[string]int, len(env))
	var kept []string
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		if i, ok := at[name]; ok {
			kept[i] = kv
			continue
		}
		at[name] = len(kept)
		kept = append(kept, kv)
	}
	return kept
}

// defaultPath is the PATH of commands when the worker was started without one.
// Container engines set the same.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// SearchPath is the PATH of this program, or the default.
func SearchPath() string {
	if runtime.GOOS == "windows" {
		return os.Getenv("PATH")
	}
	return cmp.Or(os.Getenv("PATH"), defaultPath)
}

// ownEnvironment is the environment of this program, with a PATH.
func ownEnvironment() []string {
	env := os.Environ()
	if os.Getenv("PATH") != "" {
		return env
	}
	env = slices.DeleteFunc(env, func(kv string) bool { return kv == "PATH=" })
	return append(env, "PATH="+SearchPath())
}

// lookup is the value of name in env.
func lookup(env []string, name string) string {
	for _, kv := range env {
		if n, v, _ := strings.Cut(kv, "="); n == name {
			return v
		}
	}
	return ""
}

// fits returns an error for an entry that the system would refuse.
func fits(env []string) error {
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		switch {
		case len(kv) >= maxWord:
			return fmt.Errorf("environment variable %s has a value of %d bytes; the system takes at most 128 KiB in one: hand it over by stdin, which takes any size", name, len(value))
		case strings.IndexByte(kv, 0) >= 0:
			return fmt.Errorf("environment variable %s has a zero byte in it", name)
		case name == "":
			return fmt.Errorf("an environment variable has no name")
		}
	}
	return nil
}
