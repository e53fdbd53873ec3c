package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/modpipe/modpipe/internal/flags"
)

// authCommand prints what users of NATS need.
func authCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "auth", Short: "Print the permissions of users of NATS"}
	a.group(cmd)
	p := &flags.Printing{}
	show := &cobra.Command{
		Use: "print", Short: "Print a role for the configuration of NATS, or a whole configuration",
		RunE: a.do(between(0, 0, "auth print"), func(context.Context, []string) error { return p.Print(a.Stdout) }, p.Faults),
	}
	p.Define(show.Flags())
	cmd.AddCommand(show)
	return cmd
}
