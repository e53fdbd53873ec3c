package cli

import (
	"context"
	"errors"
	"io"
	"maps"

	"github.com/spf13/cobra"

	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/safetext"
	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/pipeline"
)

// validation is the result for one file, as `validate -o json` writes it.
type validation struct {
	File    string       `json:"file"`
	Valid   bool         `json:"valid"`
	Modules int          `json:"modules"`
	Faults  []faultShown `json:"faults"`

	Warnings []faultShown `json:"warnings"`
}

type faultShown struct {
	Line       int    `json:"line,omitempty"`
	Column     int    `json:"column,omitempty"`
	Text       string `json:"text"`
	Suggestion string `json:"suggestion,omitempty"`
}

func validateCommand(a *app) *cobra.Command {
	var params []settings.Pair
	cmd := &cobra.Command{
		Use: "validate FILE...", Short: "Find all faults of pipeline files", ValidArgsFunction: completeFiles,
		Long: "Find all faults of pipeline files, and run nothing. Parameters that a run would require\n" +
			"and that are not given are taken to be empty, or the first of their options.",
	}
	settings.PairsFlag(cmd.Flags(), &params, "param", "a parameter of the pipelines (repeatable)")
	cmd.RunE = a.do(between(1, 1<<20, "validate FILE..."), func(ctx context.Context, args []string) error {
		return a.untilSignal(ctx, func() error { return validateFiles(a, args, settings.PairMap(params)) })
	})
	return cmd
}

func validateFiles(a *app, files []string, params map[string]string) error {
	var found []validation
	var faults []error
	var warnings pipeline.Faults
	for _, file := range files {
		p, err := checkFile(a, file, params)
		v := validation{File: file, Valid: err == nil, Faults: shownFaults(err), Warnings: []faultShown{}}
		if err != nil {
			faults = append(faults, err)
		} else {
			v.Modules, v.Warnings = len(p.Modules), shownFaults(p.Warnings)
			warnings = append(warnings, p.Warnings...)
		}
		found = append(found, v)
	}
	if err := a.emit(found, func(w io.Writer) {
		for _, v := range found {
			if v.Valid {
				console.Writef(w, "%s: valid, %s\n", v.File, phrase.Count(v.Modules, "module"))
			}
		}
	}, func(w io.Writer) {
		for _, v := range found {
			if v.Valid {
				console.Writeln(w, v.File)
			}
		}
	}); err != nil {
		return err
	}
	a.warn(warnings)
	if len(faults) > 0 {
		return exit.Usagef("%w", errors.Join(faults...))
	}
	return nil
}

// warn prints the warnings of a pipeline for its author.
func (a *app) warn(warnings pipeline.Faults) {
	for _, w := range warnings {
		console.Writef(a.Stderr, "%s: warning: %s\n", a.binary, safetext.Text(w.String()))
	}
}

// checkFile parses and binds a file.
func checkFile(a *app, file string, params map[string]string) (*pipeline.Pipeline, error) {
	if a.own != nil {
		return a.own.graph(a.own.params(params), a.env.Lookup)
	}
	f, err := parseFile(a, file)
	if err != nil {
		return nil, err
	}
	given := map[string]string{}
	for _, p := range f.Params() {
		if v, ok := params[p.Name]; ok {
			given[p.Name] = v
		} else if p.Required && p.Default == nil {
			given[p.Name] = p.StandIn()
		}
	}
	maps.Copy(given, params) // also what is not declared: that is a fault
	p, err := f.Bind(given, a.env.Lookup)
	if err != nil {
		return nil, faultsError(err)
	}
	return p, nil
}

func shownFaults(err error) []faultShown {
	shown := []faultShown{}
	if faults, ok := errors.AsType[pipeline.Faults](err); ok {
		for _, f := range faults {
			shown = append(shown, faultShown{f.Line, f.Column, f.Text, f.Suggestion})
		}
	} else if err != nil {
		shown = append(shown, faultShown{Text: err.Error()})
	}
	return shown
}

func schemaCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of the pipeline file",
		Long: "Print the JSON Schema of the pipeline file. For completion in an editor keep it in a file, and begin\npipelines with: # yaml-language-server: $schema=FILE",
		RunE: a.do(between(0, 0, "schema"), func(ctx context.Context, _ []string) error { return a.untilSignal(ctx, a.schema) }),
	}
}

func (a *app) schema() error {
	text, err := pipeline.Schema()
	if err != nil {
		return err
	}
	if n := len(text); n == 0 || text[n-1] != '\n' {
		text = append(text, '\n')
	}
	_, err = a.Stdout.Write(text)
	return err
}
