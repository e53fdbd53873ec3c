package cli

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/modpipe/modpipe/test/golden"
)

// TestReference holds docs/cli.md to the commands; UPDATE_GOLDEN=1 writes it.
func TestReference(t *testing.T) {
	golden.Compare(t, "../../../docs/cli.md", reference())
}

func reference() string {
	var b strings.Builder
	b.WriteString("# The command line\n\nMade from the commands themselves. Every flag can also be set by a variable (`MODPIPE_ORCHESTRATOR_<FLAG>`,\n" +
		"`MODPIPE_WORKER_<FLAG>`, with underscores) or by its name in the configuration file; the flag wins, then the variable.\n")
	p := Process{Stdout: io.Discard, Stderr: io.Discard}
	orchestrator := orchestratorRoot(newApp("orchestrator", p))
	commandReference(&b, orchestrator)
	b.WriteString("\n## Flags of every command\n\n")
	flagTable(&b, orchestrator.PersistentFlags())
	commandReference(&b, workerRoot(newApp("worker", p)))
	return b.String()
}

func commandReference(b *strings.Builder, cmd *cobra.Command) {
	if cmd.Hidden {
		return
	}
	fmt.Fprintf(b, "\n## %s\n\n", cmd.CommandPath())
	text := cmd.Long
	if text == "" {
		text = cmd.Short + "."
	}
	b.WriteString(text + "\n")
	if cmd.Runnable() && !cmd.HasSubCommands() || cmd.Name() == "worker" {
		fmt.Fprintf(b, "\n```\n%s\n```\n", cmd.UseLine())
	}
	if own := cmd.LocalNonPersistentFlags(); own.HasAvailableFlags() {
		b.WriteString("\n")
		flagTable(b, own)
	}
	for _, child := range cmd.Commands() {
		commandReference(b, child)
	}
}

func flagTable(b *strings.Builder, flags *pflag.FlagSet) {
	b.WriteString("| flag | |\n|---|---|\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		kind, usage := pflag.UnquoteUsage(f)
		name := "`--" + f.Name
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		if kind != "" {
			name += " " + kind
		}
		def := ""
		if f.DefValue != "" && f.DefValue != "[]" && f.DefValue != "false" && f.DefValue != "0" {
			def = " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(b, "| %s` | %s%s |\n", name, strings.ReplaceAll(usage, "|", "\\|"), def)
	})
}
