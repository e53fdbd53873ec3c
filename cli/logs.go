package cli

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/access"
	"github.com/modpipe/modpipe/internal/client"
	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/lines"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/progress"
	"github.com/modpipe/modpipe/internal/safetext"
	"github.com/modpipe/modpipe/internal/settings"
	"github.com/modpipe/modpipe/internal/shown"
	"github.com/modpipe/modpipe/internal/store"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// logOptions are the flags of `runs logs`.
type logOptions struct {
	attempt int // 0 = the newest of each module
	follow  bool
}

func runsLogsCommand(a *app, p *store.Location) *cobra.Command {
	o := &logOptions{}
	cmd := &cobra.Command{
		Use: "logs RUN [MODULE]", Short: "Print what modules wrote", ValidArgsFunction: completeRuns(a, p),
		Long: "Print what modules wrote: of one module byte for byte, of several each line after its module's name.\n" +
			"Lines are cut after 1 MiB; on a terminal, and after a name, escape sequences other than colours are left out.\n" +
			"MODULE is a module or a family. Without --attempt, the newest attempt of each module.\n" +
			"--follow prints lines as they come, of every attempt, until the run has ended.",
	}
	settings.CountFlag(cmd.Flags(), &o.attempt, "attempt", "", 0, 1, "print this attempt")
	settings.SwitchFlag(cmd.Flags(), &o.follow, "follow", "f", "go on until the run has ended")
	show := aRun(a, p, between(1, 2, "runs logs RUN [MODULE]"), func(ctx context.Context, s *access.Session, run jobs.RunID, args []string) error {
		module := ""
		if len(args) > 0 {
			module = args[0]
		}
		return printLogs(ctx, a, s, run, module, o)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		a.readsOutput = true
		return show(cmd, args)
	}
	return cmd
}

// printLogs prints what a module or a family of the run wrote; "" = all modules.
func printLogs(ctx context.Context, a *app, s *access.Session, run jobs.RunID, module string, o *logOptions) error {
	p := &logPrinter{app: a, client: client.New(s.Conn), run: run, options: o}
	list, err := p.client.Modules(ctx, run)
	if err != nil {
		return err
	}
	p.modules = &logModules{list: list, all: true}
	if module != "" {
		if p.modules, err = p.modules.only(run, module); err != nil {
			return err
		}
	}
	if o.follow && !s.Dead { // on a dead store nothing more comes
		return p.follow(ctx)
	}
	return p.stored(ctx)
}

// logModules are the modules of a run whose logs are printed.
type logModules struct {
	list []client.Module
	one  bool // one module was named: its bytes, without a name before them
	all  bool // no module was named: modules that appear later count too
}

// only keeps the module of this name, or the members of the family.
func (m *logModules) only(run jobs.RunID, name string) (*logModules, error) {
	kept := &logModules{}
	var names []string
	for _, module := range m.list {
		if strings.EqualFold(module.Name, name) {
			return &logModules{list: []client.Module{module}, one: true}, nil
		}
		if module.Family != "" && strings.EqualFold(module.Family, name) {
			kept.list = append(kept.list, module)
		}
		names = append(names, module.Name)
	}
	if len(kept.list) > 0 {
		return kept, nil
	}
	return nil, exit.NotFoundf("run %s has no module %q%s", run, name, phrase.DidYouMean(name, names))
}

func (m *logModules) has(name string) bool {
	return m.all || slices.ContainsFunc(m.list, func(x client.Module) bool { return x.Name == name })
}

func (m *logModules) width() int {
	width := 0
	for _, module := range m.list {
		width = min(progress.WidestName, max(width, utf8.RuneCountInString(module.Name)))
	}
	return width
}

// logPrinter prints what the modules of a run wrote.
type logPrinter struct {
	*app
	client  *client.Client
	run     jobs.RunID
	modules *logModules
	options *logOptions
}

// stored prints the output that is stored now.
func (p *logPrinter) stored(ctx context.Context) error {
	if p.modules.one {
		return p.bytes(ctx)
	}
	lines := newLineSplitter(p.Stdout, p.modules)
	if err := p.client.Outputs(ctx, p.run, p.modules.list, jobs.Attempt(p.options.attempt), lines.add); err != nil {
		return err
	}
	if err := p.cached(ctx, lines); err != nil {
		return err
	}
	return lines.flush()
}

// bytes prints one attempt byte for byte; on a terminal, which modules must not
// control, in lines.
func (p *logPrinter) bytes(ctx context.Context) error {
	module := p.modules.list[0]
	attempt := jobs.Attempt(p.options.attempt)
	switch {
	case attempt == 0 && module.Cached != nil:
		return p.earlier(ctx, module)
	case attempt == 0 && module.Newest == 0:
		console.Writef(p.Stderr, "%s has not started: there is no log\n", module.Name)
		return nil
	case attempt == 0:
		attempt = module.Newest
	case attempt > module.Newest:
		return exit.NotFoundf("%s of run %s has had %s", module.Name, p.run, phrase.Count(int(module.Newest), "attempt"))
	}
	of := jobs.AttemptID{Module: module.ID, Attempt: attempt}
	if console.IsTerminal(p.Stdout) {
		lines := newLineSplitter(p.Stdout, p.modules)
		if err := p.client.Output(ctx, p.run, of, lines.add); err != nil {
			return err
		}
		return lines.flush()
	}
	return p.client.Output(ctx, p.run, of, func(e broker.LogEntry) error {
		for _, part := range e.Chunk.Parts {
			if _, err := p.Stdout.Write(part.Data); err != nil {
				return err
			}
		}
		return nil
	})
}

// earlier prints the output of the attempt whose result a module took from the cache.
func (p *logPrinter) earlier(ctx context.Context, module client.Module) error {
	console.Writeln(p.Stderr, safetext.Line(client.FromCache(module.Cached)))
	f := func(data []byte) error {
		_, err := p.Stdout.Write(data)
		return err
	}
	lines := newLineSplitter(p.Stdout, p.modules)
	if console.IsTerminal(p.Stdout) {
		f = func(data []byte) error { return lines.add(cachedPiece(module.ID, data)) }
	}
	err := p.client.CachedOutput(ctx, module.Cached, f)
	if errors.Is(err, broker.ErrNotFound) {
		console.Writeln(p.Stderr, client.NotKept)
		return nil
	}
	return errors.Join(err, lines.flush())
}

// cachedPiece is a piece of the output of an earlier attempt as one of this module.
func cachedPiece(id jobs.ModuleID, data []byte) broker.LogEntry {
	return broker.LogEntry{ID: jobs.AttemptID{Module: id}, Chunk: jobs.LogChunk{Parts: []jobs.LogPart{{Data: data}}}}
}

// cached prints the lines of modules whose results come from the cache.
func (p *logPrinter) cached(ctx context.Context, lines *lineSplitter) error {
	for _, m := range p.modules.list {
		if m.Cached == nil || p.options.attempt > 0 {
			continue
		}
		err := lines.add(cachedPiece(m.ID, []byte("["+client.FromCache(m.Cached)+"]\n")))
		if err == nil {
			err = p.client.CachedOutput(ctx, m.Cached, func(data []byte) error { return lines.add(cachedPiece(m.ID, data)) })
		}
		if errors.Is(err, broker.ErrNotFound) {
			err = lines.add(cachedPiece(m.ID, []byte("["+client.NotKept+"]\n")))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// follow prints lines as they come, until the run has ended.
func (p *logPrinter) follow(ctx context.Context) error {
	width := p.modules.width()
	_, err := p.client.Follow(ctx, p.run, client.FollowOptions{Output: true, Sink: func(e report.Event) {
		if e.Event != report.EventModuleOutput || !p.modules.has(e.Module) || p.options.attempt > 0 && e.Attempt != p.options.attempt {
			return
		}
		e = shown.Event(e)
		if !p.modules.one {
			e.Text = prefix(e.Module, width) + e.Text
		}
		console.Writeln(p.Stdout, e.Text)
	}})
	return err
}

// lineSplitter joins the chunks of several modules to lines.
type lineSplitter struct {
	w       io.Writer
	modules *logModules
	names   map[jobs.ModuleID]string
	width   int
	partial map[lineKey]*lines.Joiner
	order   []lineKey // of partial, by first appearance
}

type lineKey struct {
	id     jobs.AttemptID
	stream jobs.Stream
}

func newLineSplitter(w io.Writer, m *logModules) *lineSplitter {
	names := map[jobs.ModuleID]string{}
	for _, module := range m.list {
		names[module.ID] = module.Name
	}
	return &lineSplitter{w: w, modules: m, names: names, width: m.width(), partial: map[lineKey]*lines.Joiner{}}
}

func (l *lineSplitter) add(e broker.LogEntry) error {
	for _, p := range e.Chunk.Parts {
		k := lineKey{e.ID, p.Stream}
		j, known := l.partial[k]
		if !known {
			j = &lines.Joiner{}
			l.partial[k], l.order = j, append(l.order, k)
		}
		if err := j.Add(p.Data, func(line lines.Line) error { return l.line(k, line) }); err != nil {
			return err
		}
	}
	return nil
}

// flush prints the last lines, which have no end of line.
func (l *lineSplitter) flush() error {
	for _, k := range l.order {
		if err := l.partial[k].Flush(func(line lines.Line) error { return l.line(k, line) }); err != nil {
			return err
		}
	}
	return nil
}

func (l *lineSplitter) line(k lineKey, line lines.Line) error {
	text := safetext.Output(line.String())
	if !l.modules.one {
		text = prefix(cmp.Or(l.names[k.id.Module], string(k.id.Module)), l.width) + text
	}
	_, err := io.WriteString(l.w, text+"\n")
	return err
}

// prefix begins each line of a module.
func prefix(name string, width int) string {
	return phrase.Pad(safetext.Line(name), width) + " | "
}
