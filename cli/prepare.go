package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/modpipe/modpipe/internal/console"
)

// prepare binds cmd's settings and reports all their faults; more are the
// command's own checks.
func (a *app) prepare(cmd *cobra.Command, args []string, check argsCheck, more ...func() []string) error {
	b := a.bind
	unknown := b.UnknownFlags(cmd, a.Args)
	b.Bind(cmd)
	a.checkFormats(cmd)
	if check != nil && !unknown {
		if text := check(args); text != "" {
			b.Faultf("%s", text)
		}
	}
	for _, m := range more {
		b.Faults = append(b.Faults, m()...)
	}
	if b.Ignored != nil && !a.jsonErr {
		console.Writef(a.Stderr, "%s: the default configuration file may not be read and is ignored: %v (--config FILE names another)\n", a.binary, b.Ignored)
	}
	return b.Err()
}

// outputsOf is the annotation of a command with the formats that its -o accepts.
const outputsOf = "outputs"

func defaultOutputs() []string { return []string{"table", "json", "yaml", "name"} }

// checkFormats checks --output and --progress, whose words depend on the command.
func (a *app) checkFormats(cmd *cobra.Command) {
	words := defaultOutputs()
	if s := cmd.Annotations[outputsOf]; s != "" {
		words = strings.Split(s, ",")
	}
	if a.set.Output != "" && !slices.Contains(words, a.set.Output) {
		if a.bind.Origin["output"] == "--output" {
			a.bind.Faultf("--output: %q is not one of %s", a.set.Output, strings.Join(words, ", "))
		} else if !slices.Contains(defaultOutputs(), a.set.Output) {
			a.bind.Faultf("--output from %s: %q is not one of %s", a.bind.Origin["output"], a.set.Output, strings.Join(words, ", "))
		}
		a.set.Output = "" // a default for all commands that means nothing to this one
	}
	switch a.set.Progress {
	case "auto", "tty", "plain", "json", "quiet":
		a.jsonErr = a.set.Progress == "json"
	default:
		a.bind.Faultf("--progress%s: %q is not one of auto, tty, plain, json, quiet", a.bind.FromOf("progress"), a.set.Progress)
	}
}
