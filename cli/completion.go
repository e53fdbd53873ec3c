package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/access"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/safetext"
	"github.com/modpipe/modpipe/internal/store"
	"github.com/modpipe/modpipe/pipeline"
)

// completionPatience is how long a shell waits for names from NATS.
const completionPatience = 2 * time.Second

type completer = cobra.CompletionFunc

func completeFile(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

func completeFiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

// completeModules offers the modules and families of the file on the command line.
func (a *app) completeModules(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if a.own != nil {
		args = []string{a.own.name}
	}
	if len(args) == 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	p, err := checkFile(a, args[0], nil)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return selectable(p), cobra.ShellCompDirectiveNoFileComp
}

// selectable are the names that selection knows.
func selectable(p *pipeline.Pipeline) []string {
	var names []string
	for _, m := range p.Modules {
		for _, n := range []string{m.Family, m.Name} {
			if n != "" && safetext.Line(n) == n && !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	return names
}

// completeFormat offers what -o takes on the command.
func completeFormat(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	if s := cmd.Annotations[outputsOf]; s != "" {
		return strings.Split(s, ","), cobra.ShellCompDirectiveNoFileComp
	}
	return defaultOutputs(), cobra.ShellCompDirectiveNoFileComp
}

func completeProgress(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"auto", "tty", "plain", "json", "quiet"}, cobra.ShellCompDirectiveNoFileComp
}

// offerNames returns a completer for the first argument, from what a session knows.
func offerNames(a *app, p *store.Location, names func(context.Context, *access.Session) ([]string, error)) completer {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return offered(a, cmd, p, names)
	}
}

// offered is what a session knows.
func offered(a *app, cmd *cobra.Command, p *store.Location, names func(context.Context, *access.Session) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	a.bind.Bind(cmd)
	ctx, stop := context.WithTimeout(cmd.Context(), completionPatience)
	defer stop()
	a.jsonErr = true // a shell wants no log lines
	a.set.ConnectTimeout = min(a.set.ConnectTimeout, completionPatience)
	s, err := a.open(ctx, *p)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer s.Close()
	list, err := names(ctx, s)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return list, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

func completeRuns(a *app, p *store.Location) completer {
	return offerNames(a, p, func(ctx context.Context, s *access.Session) ([]string, error) {
		list, err := client.New(s.Conn).List(ctx, broker.Page{Limit: 50})
		if err != nil {
			return nil, err
		}
		names := []string{latest}
		for _, row := range list.Runs {
			names = append(names, row.Run+"\t"+safetext.Line(row.Pipeline)+", "+string(row.Status))
		}
		return names, nil
	})
}

// completeRetry offers runs, and then the modules of the one that was named.
func completeRetry(a *app, p *store.Location) completer {
	runs := completeRuns(a, p)
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return runs(cmd, args, word)
		}
		return offered(a, cmd, p, func(ctx context.Context, s *access.Session) ([]string, error) {
			run, err := findRun(ctx, s.Conn, args[0])
			if err != nil {
				return nil, err
			}
			spec, err := client.New(s.Conn).Spec(ctx, run)
			if err != nil {
				return nil, err
			}
			return slices.DeleteFunc(selectable(spec.Pipeline), func(n string) bool { return slices.Contains(args[1:], n) }), nil
		})
	}
}

func completeWorkers(a *app, p *store.Location) completer {
	return offerNames(a, p, func(ctx context.Context, s *access.Session) ([]string, error) {
		workers, err := client.New(s.Conn).Workers(ctx)
		if err != nil {
			return nil, err
		}
		return slices.DeleteFunc(workerNames(workers), func(n string) bool { return safetext.Line(n) != n }), nil
	})
}
