package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/phrase"
)

// Environment is the process's environment by name.
type Environment map[string]string

// NewEnvironment reads a list of KEY=VALUE.
func NewEnvironment(list []string) Environment {
	env := make(Environment, len(list))
	for _, kv := range list {
		if key, val, ok := strings.Cut(kv, "="); ok {
			env[key] = val
		}
	}
	return env
}

// Lookup returns a variable, and whether it is set.
func (e Environment) Lookup(name string) (string, bool) {
	v, ok := e[name]
	return v, ok
}

// ConfigDir returns the user's configuration directory, or "".
func (e Environment) ConfigDir() string {
	switch {
	case e["XDG_CONFIG_HOME"] != "":
		return e["XDG_CONFIG_HOME"]
	case runtime.GOOS == "windows":
		return e["AppData"]
	case e["HOME"] == "":
		return ""
	case runtime.GOOS == "darwin":
		return filepath.Join(e["HOME"], "Library", "Application Support")
	}
	return filepath.Join(e["HOME"], ".config")
}

// Binder sets flags that the command line does not set, from the environment and the
// configuration file. It collects all faults.
type Binder struct {
	Program string
	Prefix  string // of the program's environment variables
	Env     Environment
	known   map[string]bool   // names of the flags of all commands
	Origin  map[string]string // flag → where its value came from; absent = default
	from    string            // the source that is being read; "" = the command line
	Faults  []string
	Ignored error // why the default configuration file was not read; nil without one
}

// NewBinder returns the binder of a program, whose variables begin with
// MODPIPE_ and its name.
func NewBinder(program string, env Environment) *Binder {
	return &Binder{
		Program: program, Prefix: "MODPIPE_" + strings.ToUpper(program) + "_", Env: env,
		known: map[string]bool{}, Origin: map[string]string{},
	}
}

// Faultf adds a fault to the error of Err.
func (b *Binder) Faultf(format string, args ...any) {
	b.Faults = append(b.Faults, fmt.Sprintf(format, args...))
}

// Err returns all faults as one error; nil without faults.
func (b *Binder) Err() error {
	return FaultList(b.Faults)
}

// FaultList joins faults into one error; nil without faults.
func FaultList(faults []string) error {
	switch len(faults) {
	case 0:
		return nil
	case 1:
		return exit.Usagef("%s", faults[0])
	}
	return exit.Usagef("%s\n%s", phrase.Count(len(faults), "fault"), strings.Join(faults, "\n"))
}

// collector is a flag's value that never returns an error. It notes the fault, so that
// parsing continues.
type collector struct {
	pflag.Value
	name string
	b    *Binder
}

// Set implements pflag.Value.
func (c collector) Set(s string) error {
	if err := c.Value.Set(s); err != nil {
		c.b.Faultf("--%s%s: %v", c.name, c.b.from, err)
		return nil
	}
	if c.b.from == "" {
		c.b.Origin[c.name] = "--" + c.name
	}
	return nil
}

// Adopt takes over the flags of root and all commands below it.
func (b *Binder) Adopt(root *cobra.Command) {
	take := func(f *pflag.Flag) {
		if _, ok := f.Value.(collector); !ok {
			f.Value = collector{f.Value, f.Name, b}
		}
		b.known[f.Name] = true
	}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		cmd.PersistentFlags().VisitAll(take)
		cmd.Flags().VisitAll(take)
		cmd.FParseErrWhitelist.UnknownFlags = true // prepare reports them all together
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	walk(root)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		b.Faultf("%v", err)
		b.Bind(cmd)
		return b.Err()
	})
}

// Bind reads environment and configuration file for cmd.
func (b *Binder) Bind(cmd *cobra.Command) {
	b.unknownVariables()
	file := b.readConfig(cmd)
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed || !b.known[f.Name] {
			return
		}
		own, nats := b.Variable(f.Name), natsVariable(f.Name)
		switch {
		case b.Env[own] != "":
			b.set(f, own, " from "+own, b.split(f, b.Env[own]))
		case nats != "" && b.Env[nats] != "":
			b.set(f, nats, " from "+nats, b.split(f, b.Env[nats]))
		default:
			if entry, ok := file[f.Name]; ok {
				b.set(f, entry.file, " from "+entry.place, entry.values)
			}
		}
	})
}

// Given notes that a flag already has its value, as from the command line. Bind then
// does not set it.
func (b *Binder) Given(cmd *cobra.Command, flag string) {
	if f := cmd.Flags().Lookup(flag); f != nil {
		f.Changed, b.Origin[flag] = true, "--"+flag
	}
}

func (b *Binder) set(f *pflag.Flag, origin, from string, values []string) {
	b.from = from
	defer func() { b.from = "" }()
	for _, v := range values {
		_ = f.Value.Set(v)
	}
	b.Origin[f.Name] = origin
}

// Variable returns the environment variable of a flag.
func (b *Binder) Variable(flag string) string {
	return b.Prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// split splits the value of a variable for a flag that may be repeated. It has words
// separated by commas, or KEY=VALUE on each line.
func (b *Binder) split(f *pflag.Flag, text string) []string {
	inner := f.Value
	if c, ok := inner.(collector); ok {
		inner = c.Value
	}
	switch inner.(type) {
	case value[[]string]:
		return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == '\n' })
	case value[[]Pair]:
		return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
	}
	return []string{text}
}

func (b *Binder) unknownVariables() {
	variables := map[string]bool{}
	for name := range b.known {
		variables[b.Variable(name)] = true
	}
	for _, name := range slices.Sorted(maps.Keys(b.Env)) {
		if strings.HasPrefix(name, b.Prefix) && !variables[name] {
			b.Faultf("%s in the environment matches no flag%s", name, phrase.DidYouMean(name, slices.Sorted(maps.Keys(variables))))
		}
	}
}

// configEntry is a key of the configuration file.
type configEntry struct {
	file   string // base name
	place  string // file:line:column
	values []string
}

func (b *Binder) readConfig(cmd *cobra.Command) map[string]configEntry {
	path, asked := b.configPath(cmd)
	if path == "" {
		return nil
	}
	src, err := os.ReadFile(path)
	if err != nil {
		switch {
		case errors.Is(err, fs.ErrPermission) && !asked:
			b.Ignored = err
		case asked || !errors.Is(err, fs.ErrNotExist):
			b.Faultf("--config%s: %v", b.configFrom(cmd), err)
		}
		return nil
	}
	return b.parseConfig(path, src)
}

func (b *Binder) configPath(cmd *cobra.Command) (path string, asked bool) {
	f := cmd.Flags().Lookup("config")
	if f == nil {
		return "", false
	}
	if f.Changed {
		return f.Value.String(), true
	}
	if v := b.Env[b.Variable("config")]; v != "" {
		return v, true
	}
	if dir := b.Env.ConfigDir(); dir != "" {
		return filepath.Join(dir, "modpipe", b.Program+".yaml"), false
	}
	return "", false
}

func (b *Binder) configFrom(cmd *cobra.Command) string {
	switch f := cmd.Flags().Lookup("config"); {
	case f.Changed:
		return ""
	case b.Env[b.Variable("config")] != "":
		return " from " + b.Variable("config")
	}
	return " by default"
}

// UnknownFlags notes the flags among args that cmd does not have, and
// reports whether there are any.
func (b *Binder) UnknownFlags(cmd *cobra.Command, args []string) bool {
	before := len(b.Faults)
	for i := 0; i < len(args) && args[i] != "--"; i++ {
		if b.takesNext(cmd, args[i]) {
			i++
		}
	}
	return len(b.Faults) > before
}

// takesNext notes arg when it is an unknown flag. It reports whether arg is a known flag
// whose value is the next argument.
func (b *Binder) takesNext(cmd *cobra.Command, arg string) bool {
	switch {
	case strings.HasPrefix(arg, "--"):
		name, _, hasValue := strings.Cut(arg[2:], "=")
		f := cmd.Flags().Lookup(name)
		if f == nil {
			b.Faultf("unknown flag --%s of %q%s", name, cmd.CommandPath(), phrase.DidYouMean("--"+name, flagNames(cmd)))
			return false
		}
		return !hasValue && f.NoOptDefVal == ""
	case len(arg) > 1 && arg[0] == '-':
		for i, letter := range arg[1:] {
			f := cmd.Flags().ShorthandLookup(string(letter))
			if f == nil {
				b.Faultf("unknown flag -%c of %q", letter, cmd.CommandPath())
				return false
			}
			if f.NoOptDefVal == "" {
				return i+2 == len(arg)
			}
		}
	}
	return false
}

func flagNames(cmd *cobra.Command) []string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
	return names
}

// FromOf returns where a flag's value came from, or "" for the command line.
func (b *Binder) FromOf(flag string) string {
	if o := b.Origin[flag]; o != "" && !strings.HasPrefix(o, "--") {
		return " from " + o
	}
	return ""
}
