package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/pipeline"
)

// pipelineFlags are the flags that describe which pipeline a command is about.
type pipelineFlags struct {
	params    []settings.Pair
	selection pipeline.Selection
}

func (s *pipelineFlags) define(fs *pflag.FlagSet) {
	settings.PairsFlag(fs, &s.params, "param", "a parameter of the pipeline (repeatable)")
	settings.ListFlag(fs, &s.selection.Only, "only", "MODULE", false, "take this module and what it needs (repeatable)")
	settings.ListFlag(fs, &s.selection.Category, "category", "CATEGORY", false, "take the modules of this category and what they need (repeatable)")
	settings.SwitchFlag(fs, &s.selection.NoNeeds, "no-needs", "", "take what --only and --category name alone: without what it needs and without always-run modules")
	settings.ListFlag(fs, &s.selection.Skip, "skip", "MODULE", false, "leave this module out (repeatable)")
	settings.ListFlag(fs, &s.selection.SkipCategory, "skip-category", "CATEGORY", false, "leave the modules of this category out (repeatable)")
}

func completeSelection(a *app, cmd *cobra.Command) {
	for _, flag := range []string{"only", "skip"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, a.completeModules)
	}
}

// path is a file's path from where the command was started.
func (a *app) path(file string) string {
	if filepath.IsAbs(file) || a.Dir == "" {
		return file
	}
	return filepath.Join(a.Dir, file)
}

// text is that of a pipeline file.
func (a *app) text(file string) ([]byte, error) {
	src, err := readFile(a.path(file))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, exit.Usagef("there is no file %s", file)
	case err != nil:
		return nil, exit.Usagef("pipeline file: %w", err)
	}
	return src, nil
}

// parseFile reads a pipeline file.
func parseFile(a *app, file string) (*pipeline.File, error) {
	src, err := a.text(file)
	if err != nil {
		return nil, err
	}
	f, err := pipeline.Parse(file, src)
	if err != nil {
		return nil, faultsError(err)
	}
	return f, nil
}

// readFile reads a pipeline file, and of one that is too large just enough to
// notice: it may be an image of a disk, or have no end.
func readFile(path string) (src []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, pipeline.MaxFileSize+1))
}

// loadUntilSignal is load, which ends at the signal that ends ctx.
func loadUntilSignal(ctx context.Context, a *app, file string, s pipelineFlags) (*pipeline.Pipeline, error) {
	loaded := make(chan *pipeline.Pipeline, 1)
	if err := a.untilSignal(ctx, func() error {
		p, _, err := loadPipeline(a, file, s)
		loaded <- p
		return err
	}); err != nil {
		return nil, err
	}
	return <-loaded, nil
}

// faultsError is the pipeline's faults as the last words of a command.
func faultsError(err error) error {
	var faults pipeline.Faults
	if !errors.As(err, &faults) {
		return exit.Usagef("%w", err)
	}
	return exit.Usagef("%s\n%w", phrase.Count(len(faults), "fault"), err)
}

// readEnvFile reads lines of KEY=VALUE: a byte order mark, blank lines and
// those that begin with # count for nothing, "export" before a key neither; a
// value may stand in quotes, in double ones with \n, \t, \" and \\.
func readEnvFile(path string) (pairs []settings.Pair, faults []string) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, []string{fmt.Sprintf("--env-file: %v", err)}
	}
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(string(src), "\uFEFF")) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		p, err := parseEnvLine(strings.TrimPrefix(line, "export "))
		if err != nil {
			faults = append(faults, fmt.Sprintf("%s:%d: %v", path, number, err))
			continue
		}
		pairs = append(pairs, p)
	}
	return pairs, faults
}

func parseEnvLine(line string) (settings.Pair, error) {
	p, err := settings.ParsePair(line)
	if err != nil {
		return settings.Pair{}, err
	}
	if err := checkVariable(p.Key); err != nil {
		return settings.Pair{}, err
	}
	p.Value = strings.TrimSpace(p.Value)
	if p.Value == "" || (p.Value[0] != '"' && p.Value[0] != '\'') {
		before, _, _ := strings.Cut(p.Value, " #")
		p.Value = strings.TrimSpace(before)
		return p, nil
	}
	quote := p.Value[:1]
	body, rest, closed := cutQuoted(p.Value[1:], quote)
	if rest = strings.TrimSpace(rest); !closed || rest != "" && rest[0] != '#' {
		return settings.Pair{}, fmt.Errorf("the value of %s begins with %s and does not end with it", p.Key, quote)
	}
	if quote == `"` {
		body = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\"`, `"`, `\\`, `\`).Replace(body)
	}
	p.Value = body
	return p, nil
}

// cutQuoted cuts s at the quote that ends it.
func cutQuoted(s, quote string) (body, rest string, closed bool) {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quote == `"`:
			i++
		case s[i] == quote[0]:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// checkVariable explains why key cannot be set for modules.
func checkVariable(key string) error {
	for i, r := range key {
		letter := r == '_' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return fmt.Errorf("%q is not the name of an environment variable", key)
		}
	}
	if strings.HasPrefix(key, "MODPIPE_") {
		return fmt.Errorf("%s cannot be set: MODPIPE_… is what modpipe itself tells modules", key)
	}
	return nil
}
