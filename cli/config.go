package cli

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
)

// environment is the process's environment by name.
type environment map[string]string

func newEnvironment(list []string) environment {
	env := make(environment, len(list))
	for _, kv := range list {
		if key, val, ok := strings.Cut(kv, "="); ok {
			env[key] = val
		}
	}
	return env
}

func (e environment) lookup(name string) (string, bool) {
	v, ok := e[name]
	return v, ok
}

// configDir is the user's configuration directory; "" when there is none.
func (e environment) configDir() string {
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

// binder gives flags that the command line leaves alone their values from the
// environment and the configuration file, and gathers every fault on the way.
type binder struct {
	program string
	prefix  string // of the program's environment variables
	env     environment
	known   map[string]bool   // names of the flags of all commands
	origin  map[string]string // flag → where its value came from; absent = default
	from    string            // what is being read now; "" = the command line
	faults  []string
	ignored error // why the default configuration file was not read; nil without one
}

func newBinder(program string, env environment) *binder {
	return &binder{
		program: program, prefix: "MODPIPE_" + strings.ToUpper(program) + "_", env: env,
		known: map[string]bool{}, origin: map[string]string{},
	}
}

func (b *binder) fault(format string, args ...any) {
	b.faults = append(b.faults, fmt.Sprintf(format, args...))
}

// err is every fault that was found; nil without one.
func (b *binder) err() error {
	return faultList(b.faults)
}

// faultList is all faults as one error; nil without one.
func faultList(faults []string) error {
	switch len(faults) {
	case 0:
		return nil
	case 1:
		return usageError("%s", faults[0])
	}
	return usageError("%s\n%s", count(len(faults), "fault"), strings.Join(faults, "\n"))
}

// collector is a flag's value that never refuses: it notes the fault, so that
// parsing goes on to the next one.
type collector struct {
	pflag.Value
	name string
	b    *binder
}

func (c collector) Set(s string) error {
	if err := c.Value.Set(s); err != nil {
		c.b.fault("--%s%s: %v", c.name, c.b.from, err)
		return nil
	}
	if c.b.from == "" {
		c.b.origin[c.name] = "--" + c.name
	}
	return nil
}

// adopt takes over the flags of root and all commands below it.
func (b *binder) adopt(root *cobra.Command) {
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
		cmd.FParseErrWhitelist.UnknownFlags = true // prepare reports them, all at once
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	walk(root)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		b.fault("%v", err)
		b.bind(cmd)
		return b.err()
	})
}

// bind reads environment and configuration file for cmd.
func (b *binder) bind(cmd *cobra.Command) {
	b.unknownVariables()
	file := b.readConfig(cmd)
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed || !b.known[f.Name] {
			return
		}
		own, nats := b.variable(f.Name), natsVariable(f.Name)
		switch {
		case b.env[own] != "":
			b.set(f, own, " from "+own, b.split(f, b.env[own]))
		case nats != "" && b.env[nats] != "":
			b.set(f, nats, " from "+nats, b.split(f, b.env[nats]))
		default:
			if entry, ok := file[f.Name]; ok {
				b.set(f, entry.file, " from "+entry.place, entry.values)
			}
		}
	})
}

func (b *binder) set(f *pflag.Flag, origin, from string, values []string) {
	b.from = from
	defer func() { b.from = "" }()
	for _, v := range values {
		_ = f.Value.Set(v)
	}
	b.origin[f.Name] = origin
}

// variable is the environment variable of a flag.
func (b *binder) variable(flag string) string {
	return b.prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// split is what a variable holds for a flag that may be repeated: words
// between commas, or KEY=VALUE on each line.
func (b *binder) split(f *pflag.Flag, text string) []string {
	inner := f.Value
	if c, ok := inner.(collector); ok {
		inner = c.Value
	}
	switch inner.(type) {
	case value[[]string]:
		return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == '\n' })
	case value[[]pair]:
		return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
	}
	return []string{text}
}

func (b *binder) unknownVariables() {
	variables := map[string]bool{}
	for name := range b.known {
		variables[b.variable(name)] = true
	}
	for _, name := range slices.Sorted(maps.Keys(b.env)) {
		if strings.HasPrefix(name, b.prefix) && !variables[name] {
			b.fault("%s in the environment stands for no flag%s", name, didYouMean(name, slices.Sorted(maps.Keys(variables))))
		}
	}
}

// configEntry is a key of the configuration file.
type configEntry struct {
	file   string // base name
	place  string // file:line:column
	values []string
}

func (b *binder) readConfig(cmd *cobra.Command) map[string]configEntry {
	path, asked := b.configPath(cmd)
	if path == "" {
		return nil
	}
	src, err := os.ReadFile(path)
	if err != nil {
		switch {
		case errors.Is(err, fs.ErrPermission) && !asked:
			b.ignored = err
		case asked || !errors.Is(err, fs.ErrNotExist):
			b.fault("--config%s: %v", b.configFrom(cmd), err)
		}
		return nil
	}
	return b.parseConfig(path, src)
}

func (b *binder) configPath(cmd *cobra.Command) (path string, asked bool) {
	f := cmd.Flags().Lookup("config")
	if f == nil {
		return "", false
	}
	if f.Changed {
		return f.Value.String(), true
	}
	if v := b.env[b.variable("config")]; v != "" {
		return v, true
	}
	if dir := b.env.configDir(); dir != "" {
		return filepath.Join(dir, "modpipe", b.program+".yaml"), false
	}
	return "", false
}

func (b *binder) configFrom(cmd *cobra.Command) string {
	switch f := cmd.Flags().Lookup("config"); {
	case f.Changed:
		return ""
	case b.env[b.variable("config")] != "":
		return " from " + b.variable("config")
	}
	return " by default"
}

// unknownFlags notes the flags among args that cmd does not have, and
// reports whether there are any.
func (b *binder) unknownFlags(cmd *cobra.Command, args []string) bool {
	before := len(b.faults)
	for i := 0; i < len(args) && args[i] != "--"; i++ {
		if b.takesNext(cmd, args[i]) {
			i++
		}
	}
	return len(b.faults) > before
}

// takesNext notes arg when it is an unknown flag; it reports whether arg is a
// known flag whose value is the next argument.
func (b *binder) takesNext(cmd *cobra.Command, arg string) bool {
	switch {
	case strings.HasPrefix(arg, "--"):
		name, _, hasValue := strings.Cut(arg[2:], "=")
		f := cmd.Flags().Lookup(name)
		if f == nil {
			b.fault("unknown flag --%s of %q%s", name, cmd.CommandPath(), didYouMean("--"+name, flagNames(cmd)))
			return false
		}
		return !hasValue && f.NoOptDefVal == ""
	case len(arg) > 1 && arg[0] == '-':
		for i, letter := range arg[1:] {
			f := cmd.Flags().ShorthandLookup(string(letter))
			if f == nil {
				b.fault("unknown flag -%c of %q", letter, cmd.CommandPath())
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

// prepare binds cmd's settings and reports all that is wrong with them; more
// are the command's own checks.
func (a *app) prepare(cmd *cobra.Command, args []string, check argsCheck, more ...func() []string) error {
	b := a.bind
	unknown := b.unknownFlags(cmd, a.Args)
	b.bind(cmd)
	a.checkFormats(cmd)
	if check != nil && !unknown {
		if text := check(args); text != "" {
			b.fault("%s", text)
		}
	}
	for _, m := range more {
		b.faults = append(b.faults, m()...)
	}
	if b.ignored != nil && !a.jsonErr {
		writef(a.Stderr, "%s: the default configuration file may not be read and is ignored: %v (--config FILE names another)\n", a.program, b.ignored)
	}
	return b.err()
}

// outputsOf is the annotation of a command that names what -o takes there.
const outputsOf = "outputs"

func defaultOutputs() []string { return []string{"table", "json", "yaml", "name"} }

// checkFormats checks --output and --progress, whose words depend on the command.
func (a *app) checkFormats(cmd *cobra.Command) {
	words := defaultOutputs()
	if s := cmd.Annotations[outputsOf]; s != "" {
		words = strings.Split(s, ",")
	}
	if a.set.output != "" && !slices.Contains(words, a.set.output) {
		if a.bind.origin["output"] == "--output" {
			a.bind.fault("--output: %q is not one of %s", a.set.output, strings.Join(words, ", "))
		} else if !slices.Contains(defaultOutputs(), a.set.output) {
			a.bind.fault("--output from %s: %q is not one of %s", a.bind.origin["output"], a.set.output, strings.Join(words, ", "))
		}
		a.set.output = "" // a default for all commands that means nothing to this one
	}
	switch a.set.progress {
	case "auto", "tty", "plain", "json", "quiet":
		a.jsonErr = a.set.progress == "json"
	default:
		a.bind.fault("--progress%s: %q is not one of auto, tty, plain, json, quiet", a.bind.fromOf("progress"), a.set.progress)
	}
}

// fromOf says where a flag's value came from, when that was not the command line.
func (b *binder) fromOf(flag string) string {
	if o := b.origin[flag]; o != "" && !strings.HasPrefix(o, "--") {
		return " from " + o
	}
	return ""
}
