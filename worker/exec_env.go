package worker

import (
	"cmp"
	"fmt"
	"os"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/pipeline"
)

// allowance says which of the worker's own environment modules may ask for.
type allowance struct {
	all      bool
	patterns []string
}

func (a allowance) covers(name string) bool { return a.all || matchAny(a.patterns, name) }

func matchAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, name)
		return err == nil && ok
	})
}

// inherited are the names that every command gets from the worker; on Windows
// also those without which programs do not start.
func inherited() []string {
	names := []string{"PATH", "HOME", "USER", "LANG", "LANGUAGE", "LC_*", "TZ"}
	if runtime.GOOS == "windows" {
		names = append(names, "Path", "SystemRoot", "SYSTEMROOT", "ComSpec", "COMSPEC", "PATHEXT", "USERPROFILE", "USERNAME", "windir")
	}
	return names
}

// environment is what a command finds: what every command gets, what it asks
// for and the worker allows, what the pipeline declares (the last of equal
// names wins), and modpipe's own, which nothing can set.
func (c *command) environment(s *scratch) (env, warnings []string, err error) {
	env = append(env, "CI=true")
	env = append(env, c.own(inherited())...)
	env = append(env, c.home.variables(c.environ, s.root)...)
	env = append(env, "TMPDIR="+s.tmp)
	if runtime.GOOS == "windows" {
		env = append(env, "TEMP="+s.tmp, "TMP="+s.tmp)
	}
	if c.job.Trace != "" {
		env = append(env, "TRACEPARENT="+c.job.Trace)
	}
	passed, warnings := c.passed(c.job.Command.PassEnv)
	env = append(env, passed...)
	for _, v := range c.job.Command.Env {
		if !reserved(v.Axis) {
			env = append(env, v.Axis+"="+v.Value)
		}
	}
	env = lastWins(append(env, c.modpipe(s)...))
	return env, warnings, fits(env)
}

// own picks what matches from the worker's environment.
func (c *command) own(patterns []string) []string {
	var env []string
	for _, kv := range c.environ {
		name, _, _ := strings.Cut(kv, "=")
		if matchAny(patterns, name) {
			env = append(env, kv)
		}
	}
	return env
}

// passed is what pass-env asks for and the worker allows, with a warning for
// each name that is there and withheld.
func (c *command) passed(patterns []string) (env, warnings []string) {
	for _, kv := range c.own(patterns) {
		name, _, _ := strings.Cut(kv, "=")
		switch {
		case reserved(name):
		case c.allow.covers(name):
			env = append(env, kv)
		default:
			warnings = append(warnings, fmt.Sprintf("pass-env: worker %s does not allow %s (worker --pass-env)", c.worker, name))
		}
	}
	return env, warnings
}

func (c *command) modpipe(s *scratch) []string {
	fencing := ""
	if c.job.Keyed {
		fencing = strconv.FormatUint(c.fencing, 10)
	}
	env := []string{
		"MODPIPE_RUN_ID=" + string(c.job.Run),
		"MODPIPE_PIPELINE=" + c.job.Pipeline,
		"MODPIPE_MODULE=" + c.job.Name,
		"MODPIPE_ATTEMPT=" + strconv.Itoa(int(c.job.Attempt)),
		"MODPIPE_WORKER=" + c.worker,
		"MODPIPE_WORKSPACE=" + s.workspace,
		"MODPIPE_FENCING_TOKEN=" + fencing,
		"MODPIPE_OUTPUT=" + s.output,
		"MODPIPE_NEEDS=" + s.needs,
	}
	return append(env, matrixEnv(c.job.Matrix)...)
}

func matrixEnv(matrix []pipeline.Pair) []string {
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

// lookup is the value of name in env.
// defaultPath is where commands are looked for when the worker was started
// without a PATH; it is what container engines set.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// searchPath is this program's PATH, or the default.
func searchPath() string {
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
	return append(env, "PATH="+searchPath())
}

func lookup(env []string, name string) string {
	for _, kv := range env {
		if n, v, _ := strings.Cut(kv, "="); n == name {
			return v
		}
	}
	return ""
}

// fits reports the entries that the system would not take.
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

// needsJSON is the content of $MODPIPE_NEEDS. resolve fetches outputs that
// travel by reference.
func needsJSON(needs map[string]jobs.Need, resolve func(jobs.Outputs) (map[string]string, error)) ([]byte, error) {
	doc := make(map[string]needDoc, len(needs))
	for name, n := range needs {
		d, err := needDocOf(n, resolve)
		if err != nil {
			return nil, fmt.Errorf("outputs of %s: %w", name, err)
		}
		doc[name] = d
	}
	return marshalPlain(doc)
}
