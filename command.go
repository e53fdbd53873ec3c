package modpipe

import (
	"fmt"
	"maps"
	"slices"

	"github.com/modpipe/modpipe/pipeline"
)

// Command is an executor that starts a process: Run for a shell, or Args without one.
// Its result is its outputs, which it appends to $MODPIPE_OUTPUT. Values of other
// modules come through EnvFrom and Stdin. Any worker runs a command that reads none
// and has no If.
type Command struct {
	Run     string                   // text for the shell
	Args    []string                 // words, without a shell
	Shell   string                   // of Run: sh (the default), bash, pwsh or python
	Dir     string                   // below the workspace; "" = the workspace
	Env     map[string]string        // environment variables
	EnvFrom map[string]Value[string] // variables whose values other modules give
	PassEnv []string                 // names, or patterns such as AWS_*, from the worker's own environment
	Stdin   Value[[]byte]            // standard input; the zero Value = empty
}

func (c Command) returns(map[string]string) {}

func (c Command) executor(at callSite) *executor {
	e := &executor{at: at, command: &c}
	names := slices.Sorted(maps.Keys(c.EnvFrom))
	for _, name := range names {
		if _, twice := c.Env[name]; twice {
			e.faults = append(e.faults, fmt.Sprintf("variable %s is in Env and in EnvFrom", name))
		}
		e.inputs = append(e.inputs, c.EnvFrom[name].up)
	}
	if c.Stdin.up != nil {
		e.inputs = append(e.inputs, c.Stdin.up)
	}
	if len(e.inputs) > 0 {
		e.prepare = c.prepare
	}
	return e
}

// prepare reads the values that the process gets.
func (c Command) prepare(in *inputs) (env map[string]string, stdin []byte, err error) {
	env = map[string]string{}
	for name, v := range c.EnvFrom {
		if env[name], err = v.get(in); err != nil {
			return nil, nil, fmt.Errorf("variable %s: %w", name, err)
		}
	}
	if c.Stdin.up != nil {
		if stdin, err = c.Stdin.get(in); err != nil {
			return nil, nil, fmt.Errorf("standard input: %w", err)
		}
	}
	return env, stdin, nil
}

// node is the command as the graph has it, in the file's terms.
func (c *Command) node() *pipeline.Command {
	n := &pipeline.Command{Run: c.Run, Shell: c.Shell, Dir: c.Dir, PassEnv: c.PassEnv}
	if n.Shell == "" && n.Run != "" {
		n.Shell = "sh"
	}
	if n.Dir == "" {
		n.Dir = "."
	}
	for _, word := range c.Args {
		n.Args = append(n.Args, pipeline.Text{{Literal: word}})
	}
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		n.Env = append(n.Env, pipeline.Var{Name: name, Value: pipeline.Text{{Literal: c.Env[name]}}})
	}
	return n
}

// commandValue is the value of a command: its outputs.
func commandValue[T any](m *module) Value[T] {
	v := outputsOf(m.b, m.name, m.at)
	return Value[T]{v.up, func(in *inputs) (t T, err error) {
		outputs, err := v.get(in)
		if err != nil {
			return t, err
		}
		t, _ = any(outputs).(T) // T is map[string]string: Command is an executor of nothing else
		return t, nil
	}}
}

func outputsOf(b *Builder, name string, at callSite) Value[map[string]string] {
	up := &upstream{b: b, at: at, edges: []edge{{name: name, at: at, reads: true}}}
	return Value[map[string]string]{up, func(in *inputs) (map[string]string, error) {
		if !in.has(name) {
			return nil, fmt.Errorf("read the outputs of %s: it is %s", name, in.req.Needs[name].Status)
		}
		outputs := in.req.Needs[name].Outputs
		if outputs == nil {
			outputs = map[string]string{}
		}
		return outputs, nil
	}}
}
