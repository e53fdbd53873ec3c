package cli

import (
	"cmp"
	"context"
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
	"github.com/modpipe/modpipe/pipeline"
	"github.com/modpipe/modpipe/report"
)

// logOptions are the flags of `runs logs`.
type logOptions struct {
	attempt int // 0 = the newest of each module
	follow  bool
}

func (a *app) runsLogsCommand(p *store.Location) *cobra.Command {
	o := &logOptions{}
	cmd := &cobra.Command{
		Use: "logs RUN [MODULE]", Short: "Print what modules wrote", ValidArgsFunction: a.completeRuns(p),
		Long: "Print what modules wrote: of one module byte for byte, of several each line after its module's name.\n" +
			"Lines are cut after 1 MiB; on a terminal, and after a name, escape sequences other than colours are left out.\n" +
			"MODULE is a module or a family. Without --attempt, the newest attempt of each module.\n" +
			"--follow prints lines as they come, of every attempt, until the run has ended.",
	}
	settings.CountFlag(cmd.Flags(), &o.attempt, "attempt", "", 0, 1, "print this attempt")
	settings.SwitchFlag(cmd.Flags(), &o.follow, "follow", "f", "go on until the run has ended")
	show := a.aRun(p, between(1, 2, "runs logs RUN [MODULE]"), func(ctx context.Context, s *access.Session, run jobs.RunID, args []string) error {
		log, err := s.Conn.Runs.Read(ctx, run)
		if err != nil {
			return err
		}
		m, err := modulesOf(log)
		if err != nil {
			return err
		}
		if len(args) > 0 {
			if m, err = m.only(run, args[0]); err != nil {
				return err
			}
		}
		if o.follow {
			return a.followLogs(ctx, s, run, m, o)
		}
		return a.printLogs(ctx, s, run, m, o)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		a.readsOutput = true
		return show(cmd, args)
	}
	return cmd
}

// logModules are the modules of a run whose logs are asked for.
type logModules struct {
	names  map[jobs.ModuleID]string
	family map[jobs.ModuleID]string
	newest map[jobs.ModuleID]jobs.Attempt
	order  []jobs.ModuleID
	one    bool // one module was asked for: its bytes, without a name before them
	all    bool // nothing was asked for: also what appears later
}

// modulesOf reads a run's modules from its log, those of expanded families too.
func modulesOf(log []jobs.Entry) (*logModules, error) {
	m := &logModules{names: map[jobs.ModuleID]string{}, family: map[jobs.ModuleID]string{}, newest: map[jobs.ModuleID]jobs.Attempt{}, all: true}
	var p *pipeline.Pipeline
	declared := map[jobs.ModuleID]*pipeline.Module{}
	add := func(mod *pipeline.Module) {
		t := jobs.ModuleID(mod.Token)
		declared[t], m.names[t], m.family[t] = mod, mod.Name, mod.Family
		m.order = append(m.order, t)
	}
	for _, e := range log {
		switch r := e.Record; {
		case r.Spec != nil && r.Spec.Pipeline != nil:
			p = r.Spec.Pipeline
			for _, mod := range p.Modules {
				add(mod)
			}
		case r.Expansion != nil && p != nil && declared[r.Expansion.Module] != nil:
			members, err := p.Members(declared[r.Expansion.Module], r.Expansion.Combinations)
			if err != nil {
				return nil, err
			}
			m.forget(r.Expansion.Module)
			for _, mod := range members {
				add(mod)
			}
		case r.Claim != nil:
			m.newest[e.Cell] = max(m.newest[e.Cell], r.Claim.Attempt)
		case r.Outcome != nil:
			m.newest[e.Cell] = max(m.newest[e.Cell], r.Outcome.Attempt)
		}
	}
	return m, nil
}

// forget drops the placeholder of a family whose members are known.
func (m *logModules) forget(placeholder jobs.ModuleID) {
	m.order = slices.DeleteFunc(m.order, func(t jobs.ModuleID) bool { return t == placeholder })
}

// only keeps the module of this name, or the members of the family.
func (m *logModules) only(run jobs.RunID, name string) (*logModules, error) {
	kept := &logModules{names: m.names, family: m.family, newest: m.newest}
	for _, t := range m.order {
		if strings.EqualFold(m.names[t], name) {
			kept.order, kept.one = []jobs.ModuleID{t}, true
			return kept, nil
		}
		if m.family[t] != "" && strings.EqualFold(m.family[t], name) {
			kept.order = append(kept.order, t)
		}
	}
	if len(kept.order) > 0 {
		return kept, nil
	}
	var names []string
	for _, t := range m.order {
		names = append(names, m.names[t])
	}
	return nil, exit.NotFoundf("run %s has no module %q%s", run, name, phrase.DidYouMean(name, names))
}

func (m *logModules) has(name string) bool {
	return m.all || slices.ContainsFunc(m.order, func(t jobs.ModuleID) bool { return m.names[t] == name })
}

func (m *logModules) width() int {
	width := 0
	for _, t := range m.order {
		width = min(progress.WidestName, max(width, utf8.RuneCountInString(m.names[t])))
	}
	return width
}

// printLogs prints what is stored now.
func (a *app) printLogs(ctx context.Context, s *access.Session, run jobs.RunID, m *logModules, o *logOptions) error {
	if m.one {
		return a.printBytes(ctx, s, run, m, o)
	}
	moduleID := jobs.ModuleID("")
	wanted := map[jobs.ModuleID]bool{}
	for _, t := range m.order {
		wanted[t] = true
	}
	lines := newLineSplitter(a.Stdout, m)
	err := s.Conn.Logs.Read(ctx, run, moduleID, jobs.Attempt(o.attempt), func(e broker.LogEntry) error {
		if !wanted[e.ID.Module] || o.attempt == 0 && e.ID.Attempt != m.newest[e.ID.Module] {
			return nil
		}
		return lines.add(e)
	})
	if err != nil {
		return err
	}
	return lines.flush()
}

// printBytes prints one module's attempt as it was written.
func (a *app) printBytes(ctx context.Context, s *access.Session, run jobs.RunID, m *logModules, o *logOptions) error {
	moduleID := m.order[0]
	attempt := jobs.Attempt(o.attempt)
	switch {
	case attempt == 0 && m.newest[moduleID] == 0:
		console.Writef(a.Stderr, "%s has not started: there is no log\n", m.names[moduleID])
		return nil
	case attempt == 0:
		attempt = m.newest[moduleID]
	case attempt > m.newest[moduleID]:
		return exit.NotFoundf("%s of run %s has had %s", m.names[moduleID], run, phrase.Count(int(m.newest[moduleID]), "attempt"))
	}
	if console.IsTerminal(a.Stdout) { // which modules must not command
		return a.printLines(ctx, s, run, m, moduleID, attempt)
	}
	return s.Conn.Logs.Read(ctx, run, moduleID, attempt, func(e broker.LogEntry) error {
		for _, p := range e.Chunk.Parts {
			if _, err := a.Stdout.Write(p.Data); err != nil {
				return err
			}
		}
		return nil
	})
}

// printLines prints one module's attempt in lines.
func (a *app) printLines(ctx context.Context, s *access.Session, run jobs.RunID, m *logModules, moduleID jobs.ModuleID, attempt jobs.Attempt) error {
	lines := newLineSplitter(a.Stdout, m)
	if err := s.Conn.Logs.Read(ctx, run, moduleID, attempt, lines.add); err != nil {
		return err
	}
	return lines.flush()
}

// followLogs prints lines as they come.
func (a *app) followLogs(ctx context.Context, s *access.Session, run jobs.RunID, m *logModules, o *logOptions) error {
	if s.Dead {
		return a.printLogs(ctx, s, run, m, o) // nothing more will come
	}
	width := m.width()
	_, err := client.New(s.Conn).Follow(ctx, run, true, func(e report.Event) {
		if e.Event != report.EventModuleOutput || !m.has(e.Module) || o.attempt > 0 && int(e.Attempt) != o.attempt {
			return
		}
		e = shown.Event(e)
		if m.one {
			console.Writeln(a.Stdout, e.Text)
			return
		}
		console.Writeln(a.Stdout, m.prefix(e.Module, width)+e.Text)
	})
	return err
}

// lineSplitter makes lines of the chunks of several modules.
type lineSplitter struct {
	w       io.Writer
	modules *logModules
	width   int
	partial map[lineKey]*lines.Joiner
	order   []lineKey // of partial, by first appearance
}

type lineKey struct {
	id     jobs.AttemptID
	stream jobs.Stream
}

func newLineSplitter(w io.Writer, m *logModules) *lineSplitter {
	return &lineSplitter{w: w, modules: m, width: m.width(), partial: map[lineKey]*lines.Joiner{}}
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

// flush prints what had no end of line.
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
		text = l.modules.prefix(cmp.Or(l.modules.names[k.id.Module], string(k.id.Module)), l.width) + text
	}
	_, err := io.WriteString(l.w, text+"\n")
	return err
}

// prefix stands before each line of a module.
func (m *logModules) prefix(name string, width int) string {
	return phrase.Pad(safetext.Line(name), width) + " | "
}
