package client

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/modpipe/modpipe/broker"
	"github.com/modpipe/modpipe/internal/console"
	"github.com/modpipe/modpipe/internal/exit"
	"github.com/modpipe/modpipe/internal/phrase"
	"github.com/modpipe/modpipe/internal/safetext"
	"github.com/modpipe/modpipe/internal/shown"
	"github.com/modpipe/modpipe/jobs"
	"github.com/modpipe/modpipe/report"
)

// widestName bounds the column of module names, as that of package progress does.
const widestName = 36

// logModules are the modules of a run whose logs are printed.
type logModules struct {
	list []Module
	one  bool // one module was named: its bytes, without a name before them
	all  bool // no module was named: modules that appear later count too
}

// only keeps the module of this name, or the members of the family.
func (m *logModules) only(run jobs.RunID, name string) (*logModules, error) {
	kept := &logModules{}
	var names []string
	for _, module := range m.list {
		if strings.EqualFold(module.Name, name) {
			return &logModules{list: []Module{module}, one: true}, nil
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
	return m.all || slices.ContainsFunc(m.list, func(x Module) bool { return x.Name == name })
}

func (m *logModules) width() int {
	width := 0
	for _, module := range m.list {
		width = min(widestName, max(width, utf8.RuneCountInString(module.Name)))
	}
	return width
}

// LogPrinter prints what the modules of a run wrote: of one module byte for byte, of
// several each line after its module's name, and on a terminal without what would
// command it.
type LogPrinter struct {
	Client  *Client
	Run     jobs.RunID
	Module  string       // a module or a family; "" = all modules
	Attempt jobs.Attempt // 0 = the newest of each module
	Follow  bool         // print lines as they come, of every attempt, until the run has ended

	Stdout, Stderr io.Writer

	modules *logModules
}

// Print prints the output. It reports exit.NotFound for a module or an attempt that
// does not exist.
func (p *LogPrinter) Print(ctx context.Context) error {
	list, err := p.Client.Modules(ctx, p.Run)
	if err != nil {
		return err
	}
	p.modules = &logModules{list: list, all: true}
	if p.Module != "" {
		if p.modules, err = p.modules.only(p.Run, p.Module); err != nil {
			return err
		}
	}
	if p.Follow {
		return p.follow(ctx)
	}
	return p.stored(ctx)
}

// stored prints the output that is stored now.
func (p *LogPrinter) stored(ctx context.Context) error {
	if p.modules.one {
		return p.bytes(ctx)
	}
	lines := newLineSplitter(p.Stdout, p.modules)
	if err := p.Client.Outputs(ctx, p.Run, p.modules.list, p.Attempt, lines.add); err != nil {
		return err
	}
	if err := p.cached(ctx, lines); err != nil {
		return err
	}
	return lines.flush()
}

// bytes prints one attempt byte for byte; on a terminal, which modules must not
// control, in lines.
func (p *LogPrinter) bytes(ctx context.Context) error {
	module := p.modules.list[0]
	attempt := p.Attempt
	switch {
	case attempt == 0 && module.Cached != nil:
		return p.earlier(ctx, module)
	case attempt == 0 && module.Newest == 0:
		console.Writef(p.Stderr, "%s has not started: there is no log\n", module.Name)
		return nil
	case attempt == 0:
		attempt = module.Newest
	case attempt > module.Newest:
		return exit.NotFoundf("%s of run %s has had %s", module.Name, p.Run, phrase.Count(int(module.Newest), "attempt"))
	}
	of := jobs.AttemptID{Module: module.ID, Attempt: attempt}
	if console.IsTerminal(p.Stdout) {
		lines := newLineSplitter(p.Stdout, p.modules)
		if err := p.Client.Output(ctx, p.Run, of, lines.add); err != nil {
			return err
		}
		return lines.flush()
	}
	return p.Client.Output(ctx, p.Run, of, func(e broker.LogEntry) error {
		for _, part := range e.Chunk.Parts {
			if _, err := p.Stdout.Write(part.Data); err != nil {
				return err
			}
		}
		return nil
	})
}

// earlier prints the output of the attempt whose result a module took from the cache.
func (p *LogPrinter) earlier(ctx context.Context, module Module) error {
	console.Writeln(p.Stderr, safetext.Line(FromCache(module.Cached)))
	f := func(data []byte) error {
		_, err := p.Stdout.Write(data)
		return err
	}
	lines := newLineSplitter(p.Stdout, p.modules)
	if console.IsTerminal(p.Stdout) {
		f = func(data []byte) error { return lines.add(cachedPiece(module.ID, data)) }
	}
	err := p.Client.CachedOutput(ctx, module.Cached, f)
	if errors.Is(err, broker.ErrNotFound) {
		console.Writeln(p.Stderr, NotKept)
		return nil
	}
	return errors.Join(err, lines.flush())
}

// cachedPiece is a piece of the output of an earlier attempt as one of this module.
func cachedPiece(id jobs.ModuleID, data []byte) broker.LogEntry {
	return broker.LogEntry{ID: jobs.AttemptID{Module: id}, Chunk: jobs.LogChunk{Parts: []jobs.LogPart{{Data: data}}}}
}

// cached prints the lines of modules whose results come from the cache.
func (p *LogPrinter) cached(ctx context.Context, lines *lineSplitter) error {
	for _, m := range p.modules.list {
		if m.Cached == nil || p.Attempt > 0 {
			continue
		}
		err := lines.add(cachedPiece(m.ID, []byte("["+FromCache(m.Cached)+"]\n")))
		if err == nil {
			err = p.Client.CachedOutput(ctx, m.Cached, func(data []byte) error { return lines.add(cachedPiece(m.ID, data)) })
		}
		if errors.Is(err, broker.ErrNotFound) {
			err = lines.add(cachedPiece(m.ID, []byte("["+NotKept+"]\n")))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// follow prints lines as they come, until the run has ended.
func (p *LogPrinter) follow(ctx context.Context) error {
	width := p.modules.width()
	_, err := p.Client.Follow(ctx, p.Run, FollowOptions{Output: true, Sink: func(e report.Event) {
		if e.Event != report.EventModuleOutput || !p.modules.has(e.Module) || p.Attempt > 0 && e.Attempt != int(p.Attempt) {
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
